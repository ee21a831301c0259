"""One ComfyUI server behind the gateway: its node types, what is in its queue, and whether its worker lives."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Any, Literal

from comfyops.errors import BackendError, InputError, NotComfyUIError, UnreachableError
from comfyops.gateway.settings import BackendAddress, Limits
from comfyops.gateway.turns import Turns
from comfyops.gateway.upstream import Upstream
from comfyops.workflows import node_types
from comfyops.workflows.node_types import NodeTypes

Clock = Callable[[], float]
State = Literal["ok", "unreachable", "stalled", "unknown"]

_FACTS = 256 * 1024 * 1024  # bytes of GET /object_info
_FEATURES = 1024 * 1024  # of GET /features
_QUEUE = 512 * 1024 * 1024  # of GET /queue, which repeats every waiting workflow
_FRESH = 60.0  # seconds for which node types are believed
_AT_LEAST = 2.0  # seconds between two askings because something was not in a list
_EVERY = 1.0  # seconds between two looks at the queue
_SELDOM = 30.0  # seconds at most, where looking takes long
_IDLE_WORKER = 15.0  # seconds with jobs waiting and none running


class Server:
    """A backend, watched. `jobs` are ids of the jobs that wait or run there."""

    def __init__(self, address: BackendAddress, limits: Limits, clock: Clock = time.monotonic) -> None:
        self.address = address
        self.upstream = Upstream(address.url, credential=address.credential)
        self.state: State = "unknown"
        self.jobs: frozenset[str] = frozenset()
        self.looked_at = -math.inf  # when it was last asked for them
        self.running: tuple[str, ...] = ()
        self.turns = Turns()
        self._limits = limits
        self._clock = clock
        self._types: NodeTypes | None = None
        self._types_at = 0.0
        self._asking = asyncio.Lock()
        self._head: str | None = None
        self._news_at = clock()

    async def types(self, *, anew: bool = False) -> NodeTypes:
        """Its node types; `anew` asks again unless that was done just now. Raises BackendError."""
        age = self._clock() - self._types_at
        if self._types is not None and age < (_AT_LEAST if anew else _FRESH):
            return self._types
        async with self._asking:
            if self._types is not None and self._clock() - self._types_at < _AT_LEAST:
                return self._types
            return await self._ask_types()

    async def _ask_types(self) -> NodeTypes:
        answer = await self.upstream.send("GET", b"/object_info")
        data = await answer.read(_FACTS)
        if answer.status != 200:
            raise NotComfyUIError("The backend does not tell its node types.")
        try:
            self._types = await asyncio.to_thread(node_types.loads, data, "The backend's answer")
        except InputError as error:
            raise NotComfyUIError("The backend does not answer as ComfyUI does.") from error
        self._types_at = self._clock()
        return self._types

    def now(self) -> float:
        """The time by its clock, in seconds."""
        return self._clock()

    def news(self) -> None:
        """Its worker has said something."""
        self._news_at = self._clock()

    async def queue(self) -> dict[str, list[Any]]:
        """Its queue. Raises BackendError."""
        answer = await self.upstream.send("GET", b"/queue")
        data = await answer.read(_QUEUE)
        try:
            found = json.loads(data)
            if answer.status != 200:
                raise KeyError(answer.status)
            return {
                name: [item for item in found[name] if isinstance(item, list) and len(item) > 1]
                for name in ("queue_running", "queue_pending")
            }
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotComfyUIError("The backend does not answer as ComfyUI does.") from error

    async def features(self) -> dict[str, Any]:
        """What it says that it can do. Raises BackendError."""
        answer = await self.upstream.send("GET", b"/features")
        data = await answer.read(_FEATURES)
        try:
            found = json.loads(data) if answer.status == 200 else {}
        except (ValueError, RecursionError) as error:
            raise NotComfyUIError("The backend does not answer as ComfyUI does.") from error
        return found if isinstance(found, dict) else {}

    async def look(self) -> None:
        """Look at the queue once, and tell `state` from it."""
        began = self.now()
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                queue = await self.queue()
        except (UnreachableError, TimeoutError):
            self.state = "unreachable"
            self._start_anew(self._limits.stall_seconds, "It does not answer.")
            return
        except BackendError:
            self.state = "unknown"
            return
        self.running = tuple(str(item[1]) for item in queue["queue_running"])
        waiting = tuple(str(item[1]) for item in queue["queue_pending"])
        self.jobs, self.looked_at = frozenset(self.running + waiting), began
        self.turns.seen(item[0] for item in queue["queue_running"] or queue["queue_pending"])
        head = self.running[0] if self.running else None
        if head != self._head or not self.jobs:
            self._head = head
            self.news()
        patience = self._limits.stall_seconds if self.running else min(_IDLE_WORKER, self._limits.stall_seconds)
        self.state = "stalled" if self._clock() - self._news_at > patience else "ok"
        self._start_anew(patience, "Its worker is dead: jobs wait, and nothing happens.")

    def _start_anew(self, patience: float, why: str) -> None:
        """Have a server that is kept here started anew, where nothing was heard of it for so many seconds."""
        if self.address.kept is not None and self._clock() - self._news_at > patience:
            self.news()  # it gets as long again to come back
            self.address.kept.dead(why)

    async def watch(self) -> None:
        """Look at the queue again and again, until cancelled."""
        while True:
            began = self._clock()
            await self.look()
            # a long queue repeats every workflow in it: looking must not become its server's main work
            await asyncio.sleep(min(_SELDOM, max(_EVERY, 50 * (self._clock() - began))))

    def close(self) -> None:
        """Close every connection to it."""
        self.upstream.close()
