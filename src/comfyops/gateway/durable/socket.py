"""One client's websocket over the durable queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from comfyops.errors import BackendError, QueueError, StorageError
from comfyops.gateway.durable import messages
from comfyops.gateway.exchange import Receive, Send
from comfyops.gateway.settings import Limits
from comfyops.gateway.sockets import CUT, LARGEST_IN, REVOKED, Outbox, first_of
from comfyops.jobs import told
from comfyops.jobs.job import ACTIVE, Filter, JobState
from comfyops.jobs.queue import Queue

_LOOK = 5.0  # seconds between looks for jobs that came by other processes
_PAGE = 1000
_UNFINISHED = (JobState.WAITING, *ACTIVE)


class DurableSocket:
    """Tells a client of its jobs."""

    def __init__(
        self,
        queue: Queue,
        owner: str,
        client: str,
        limits: Limits,
        features: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self.owner = owner
        self.client = client or uuid.uuid4().hex
        self._queue = queue
        self._limits = limits
        self._features = features
        self._outbox = Outbox(limits)
        self._waiting: set[str] = set()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._remaining = -1
        self._metadata = False
        self._full = asyncio.Event()
        self._task: asyncio.Task[int] | None = None

    def end(self) -> None:
        """End it, from outside."""
        if self._task is not None:
            self._task.cancel()

    async def run(self, receive: Receive, send: Send, remaining: int) -> None:
        """Accept the client and tell it what happens until it leaves; `remaining` jobs wait or run now."""
        await send({"type": "websocket.accept"})
        self._remaining = remaining
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
            every = [*tasks, *self._following.values()]
            for ended in every:
                ended.cancel()
            await asyncio.gather(*every, return_exceptions=True)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(send({"type": "websocket.close", "code": code}), 1)

    def expect(self, job: str) -> bool:
        """Tell the client what happens to a job of its as soon as it begins; False where it is told already."""
        if job in self._waiting or job in self._following:
            return False
        self._waiting.add(job)
        return True

    def forget(self, job: str) -> None:
        """Take an `expect` back."""
        self._waiting.discard(job)

    def begins(self, job: str) -> None:
        """Something happens to a job that may be one of the expected ones."""
        if job in self._waiting:
            self._waiting.discard(job)
            self._follow(job)

    def remaining(self, count: int) -> None:
        """So many jobs of the owner wait or run now."""
        if count != self._remaining:
            self._remaining = count
            self._put(messages.status(count))

    def _follow(self, job: str, *, resumed: bool = False) -> None:
        if job not in self._following:
            task = asyncio.create_task(self._tell(job, resumed))
            self._following[job] = task
            task.add_done_callback(lambda done: self._following.pop(job, None))

    async def _tell(self, job: str, resumed: bool) -> None:
        run = messages.Run(job, metadata=self._metadata)
        with contextlib.suppress(QueueError, StorageError):
            async for event in self._queue.events(job, self.owner):
                for message in run.of(event):
                    self._put(message)
                if resumed and event.type == "cached":
                    resumed = False
                    for message in run.resumed(await self._queue.get(job, self.owner)):
                        self._put(message)
            found, outputs = await self._queue.get(job, self.owner), await self._queue.outputs(job)
            said = await self._queue.store.read(lambda connection: told.read(connection, [job]))
            for last in messages.ending(found, outputs, said[job]):
                self._put(last)

    def _put(self, message: messages.Message) -> None:
        if not self._outbox.put(message):
            self._full.set()

    async def _find_jobs(self) -> int:
        """Follow the jobs of this client that are under way, also those that came by another process."""
        first = True
        while True:
            with contextlib.suppress(QueueError, StorageError):
                await self._look(resumed=first)
                first = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), _LOOK)
                return CUT

    async def _look(self, *, resumed: bool) -> None:
        expected = set(self._waiting)
        cursor: str | None = None
        which = Filter(owner=self.owner, client_id=self.client, states=_UNFINISHED, limit=_PAGE, oldest_first=True)
        while True:
            page = await self._queue.ls(which, cursor)
            for job in page.jobs:
                expected.discard(job.id)
                if job.state is JobState.WAITING and job.id not in self._following:
                    self._waiting.add(job.id)
                elif job.state is not JobState.WAITING:
                    self._waiting.discard(job.id)
                    self._follow(job.id, resumed=resumed)
            cursor = page.cursor
            if cursor is None:
                break
        for gone in expected & self._waiting:  # it ended before anybody said that it began
            self.begins(gone)

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
                self._put(messages.text("feature_flags", await self._own_features()))

    async def _own_features(self) -> dict[str, Any]:
        """What the servers can do, and what is the gateway's own."""
        found: Mapping[str, Any] = {}
        with contextlib.suppress(BackendError):
            found = await self._features()
        own = {"supports_preview_metadata": True, "max_upload_size": self._limits.upload_bytes}
        return {**found, **own}


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
