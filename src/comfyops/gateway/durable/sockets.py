"""Websockets of clients over the durable queue: each hears of the jobs that it submitted, and of no others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from comfyops.errors import QueueError, UnknownJobError
from comfyops.gateway.durable import messages
from comfyops.gateway.durable.reading import DurableReading
from comfyops.gateway.exchange import Receive, Send
from comfyops.gateway.prompts import LONGEST_CLIENT
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Limits
from comfyops.gateway.sockets import CUT, LARGEST_IN, REVOKED, Outbox, first_of
from comfyops.jobs.job import ACTIVE, Filter, JobState
from comfyops.jobs.queue import Queue

_LOOK = 2.0  # seconds between looks for jobs that came by other processes
_UNFINISHED = (JobState.WAITING, *ACTIVE)


class DurableSocket:
    """One client's socket."""

    def __init__(self, queue: Queue, owner: str, client: str, limits: Limits) -> None:
        self.owner = owner
        self.client = client or uuid.uuid4().hex
        self._queue = queue
        self._reading = DurableReading(queue)
        self._limits = limits
        self._outbox = Outbox(limits)
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._metadata = False
        self._full = asyncio.Event()
        self._task: asyncio.Task[int] | None = None

    def end(self) -> None:
        """End it, from outside."""
        if self._task is not None:
            self._task.cancel()

    async def run(self, receive: Receive, send: Send) -> None:
        """Accept the client and tell it what happens until it leaves."""
        remaining = await self._reading.remaining(self.owner)
        await send({"type": "websocket.accept"})
        self._put(messages.status(remaining, self.client))
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(work) for work in (self._listen(receive), self._deliver(send), self._find_jobs())]
        self._task = loop.create_task(first_of(tasks))
        code = REVOKED
        try:
            code = await self._task
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            every = [*tasks, *self._jobs.values()]
            for ended in every:
                ended.cancel()
            await asyncio.gather(*every, return_exceptions=True)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(send({"type": "websocket.close", "code": code}), 1)

    def follow(self, job: str) -> None:
        """Tell the client what happens to a job of its, once."""
        if job not in self._jobs:
            self._jobs[job] = asyncio.create_task(self._follow(job))

    async def _follow(self, job: str) -> None:
        run = messages.Run(job, metadata=self._metadata)
        with contextlib.suppress(QueueError):
            await self._tell_remaining()
            async for event in self._queue.events(job, self.owner):
                for message in run.of(event):
                    self._put(message)
                if event.type == "state":
                    await self._tell_remaining()
            with contextlib.suppress(UnknownJobError):
                found = await self._queue.get(job, self.owner)
                for last in messages.ending(found, await self._queue.outputs(job)):
                    self._put(last)
            await self._tell_remaining()

    async def _tell_remaining(self) -> None:
        self._put(messages.status(await self._reading.remaining(self.owner)))

    def _put(self, message: messages.Message) -> None:
        if not self._outbox.put(message):
            self._full.set()

    async def _find_jobs(self) -> int:
        """Follow the jobs of this client that are under way, also those that came by another process."""
        which = Filter(owner=self.owner, client_id=self.client, states=_UNFINISHED, limit=1000)
        while True:
            with contextlib.suppress(QueueError):
                for job in (await self._queue.ls(which)).jobs:
                    self.follow(job.id)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), _LOOK)
                return CUT

    async def _deliver(self, send: Send) -> int:
        try:
            await self._outbox.deliver(send)
        except TimeoutError:
            return CUT
        return 1000

    async def _listen(self, receive: Receive) -> int:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return 1000
            flags = _flags(message.get("text") or "")
            if flags is not None:
                self._metadata = flags.get("supports_preview_metadata") is True
                own = {"supports_preview_metadata": True, "max_upload_size": self._limits.upload_bytes}
                self._put(messages.text("feature_flags", own))


class DurableSockets:
    """All open sockets."""

    def __init__(self, queue: Queue, limits: Limits) -> None:
        self._queue = queue
        self._limits = limits
        self._open: dict[tuple[str, str], set[DurableSocket]] = {}

    async def serve(
        self, owner: str, client: str, receive: Receive, send: Send, *, known: Callable[[DurableSocket], None]
    ) -> None:
        """Serve one client until it ends. Raises RefusedError before it was accepted."""
        if len(client) > LONGEST_CLIENT:
            raise RefusedError(400, "invalid_client_id", "The clientId is too long.")
        socket = DurableSocket(self._queue, owner, client, self._limits)
        same = self._open.setdefault((owner, socket.client), set())
        same.add(socket)
        known(socket)
        try:
            await socket.run(receive, send)
        finally:
            same.discard(socket)
            if not same:
                self._open.pop((owner, socket.client), None)

    def submitted(self, owner: str, client: str, job: str) -> None:
        """A client of an owner has a new job."""
        for socket in self._open.get((owner, client), ()):
            socket.follow(job)

    def __len__(self) -> int:
        return sum(len(same) for same in self._open.values())

    def close(self) -> None:
        """End all of them."""
        for same in self._open.values():
            for socket in same:
                socket.end()


def _flags(text: str) -> dict[str, Any] | None:
    """The features that a client says it has, None where it says something else."""
    if '"feature_flags"' not in text or len(text) >= LARGEST_IN:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    flags = data.get("data") if isinstance(data, dict) and data.get("type") == "feature_flags" else None
    return flags if isinstance(flags, dict) else None
