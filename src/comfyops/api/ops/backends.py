"""The state of each backend: asked now, by this machine. What is not answered is said, never guessed."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from comfyops.backends.backend import SystemStats
from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import BackendError, LoginRequiredError, UnknownBackendError, UnreachableError

State = Literal["ok", "busy", "unreachable", "login_required", "not_comfyui"]

FRESH = 2.0
"""Seconds for which an answer is given again; the button asks anew."""

_ANSWER = 5.0  # seconds that a backend has


@dataclass(frozen=True, slots=True)
class Target:
    """A backend to ask: its address, and what it is sent as a bearer token."""

    url: str
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device that a backend computes on; sizes in bytes."""

    name: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was found of a backend at a time (seconds since 1970). `last_seen` is its last answer, None = never here.

    `why` says in words what is wrong; queue, version and devices are None where it did not answer.
    """

    url: str
    state: State
    checked_at: float
    last_seen: float | None
    latency_ms: float | None = None
    version: str | None = None
    running: int | None = None
    waiting: int | None = None
    devices: tuple[Gpu, ...] | None = None
    ram_total: int | None = None
    ram_free: int | None = None
    why: str = ""
    hint: str = ""


Read = Callable[[], Awaitable[Sequence[Target]]]


class Backends:
    """Asks the backends, each at most once at a time: those given, or where they change those that `read` gives."""

    def __init__(
        self, targets: Sequence[Target], clock: Callable[[], float] = time.time, read: Read | None = None
    ) -> None:
        self._targets = {item.url: item for item in targets}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._clock = clock
        self._read = read
        self._known: dict[str, Look] = {}

    async def all(self, *, anew: bool = False) -> list[Look]:
        """Every backend, asked at once."""
        if self._read is not None:
            self._targets = {item.url: item for item in await self._read()}
        return await asyncio.gather(*(self.one(url, anew=anew) for url in self._targets))

    async def one(self, url: str, *, anew: bool = False) -> Look:
        """One backend. Raises UnknownBackendError."""
        if url not in self._targets and self._read is not None:
            self._targets = {item.url: item for item in await self._read()}
        if url not in self._targets:
            raise UnknownBackendError(f"{url[:100]!r} is no backend of this gateway.")
        asked = self._clock()
        async with self._locks[url]:
            known = self._known.get(url)
            if known is None or known.checked_at < (asked if anew else asked - FRESH):
                known = self._known[url] = await self._ask(self._targets[url])
        return known

    async def _ask(self, target: Target) -> Look:
        began, now = time.perf_counter(), self._clock()
        before = self._known.get(target.url)
        try:
            async with (
                asyncio.timeout(_ANSWER),
                ComfyUI(target.url, token=target.credential, timeout=_ANSWER) as backend,
            ):
                stats = await backend.system_stats()
                latency = round(1000 * (time.perf_counter() - began), 1)
                queue = await backend.queue()
        except (BackendError, TimeoutError) as error:
            seen = before.last_seen if before else None
            why = str(error) or f"It did not answer within {_ANSWER:g} seconds."
            return Look(target.url, _state(error), now, seen, why=why, hint=getattr(error, "hint", ""))
        running = sum(item.running for item in queue)
        return _seen(target.url, stats, now, latency, running, len(queue) - running)


def _seen(url: str, stats: SystemStats, now: float, latency: float, running: int, waiting: int) -> Look:
    devices = tuple(Gpu(item.name, item.vram_total, item.vram_free) for item in stats.devices)
    return Look(
        url,
        "busy" if running or waiting else "ok",
        now,
        now,
        latency,
        stats.version,
        running,
        waiting,
        devices,
        stats.ram_total,
        stats.ram_free,
    )


def _state(error: Exception) -> State:
    if isinstance(error, LoginRequiredError):
        return "login_required"
    return "unreachable" if isinstance(error, UnreachableError | TimeoutError) else "not_comfyui"


class Check(BaseModel):
    """Which backend to ask; all where none is named."""

    url: str | None = None


Known = Callable[[], Awaitable[Mapping[str, dict[str, Any]]]]
"""What the queue knows of each backend, by address."""


def router(backends: Backends, known: Known | None = None) -> APIRouter:
    """The routes below /ops/backends; `fleet` of each is what the queue knows of it, None without a queue."""
    routes = APIRouter(prefix="/ops/backends", tags=["backends"])

    @routes.get("")
    async def look() -> dict[str, Any]:
        """The state of every backend, at most two seconds old."""
        return await told(await backends.all())

    @routes.post("/check")
    async def check(body: Check) -> dict[str, Any]:
        """Ask again now: one backend, or all."""
        found = await backends.all(anew=True) if body.url is None else [await backends.one(body.url, anew=True)]
        return await told(found)

    async def told(found: Sequence[Look]) -> dict[str, Any]:
        fleet = await known() if known is not None else {}
        return {"backends": [{**asdict(item), "fleet": fleet.get(item.url)} for item in found]}

    return routes
