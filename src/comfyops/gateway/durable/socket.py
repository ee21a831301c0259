"""One client's websocket over the durable queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from comfyops.errors import BackendError, QueueError, StorageError
from comfyops.gateway.durable import messages
from comfyops.gateway.exchange import Receive, Send
from comfyops.gateway.settings import Limits
from comfyops.gateway.sockets import CUT, LARGEST_IN, REVOKED, Outbox, first_of
from comfyops.jobs import told
from comfyops.jobs.job import JobState
from comfyops.jobs.queue import Queue
from comfyops.jobs.reading import Sent

_LOOK = 5.0  # seconds until it is tried again where the queue cannot be read


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
        self._told: set[str] = set()  # jobs that were or are followed, since the last look at all
        self._since: int | None = None  # number of the newest job when it came, None until that is known
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
        tasks = [loop.create_task(work) for work in (self._listen(receive), self._deliver(send), self._first_look())]
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

    def begins(self, job: str) -> bool:
        """Something happens to a job; whether it is one that was expected, or is followed."""
        if job in self._waiting:
            self._waiting.discard(job)
            self._follow(job)
        return job in self._following

    def remaining(self, count: int) -> None:
        """So many jobs of the owner wait or run now."""
        if count != self._remaining:
            self._remaining = count
            self._put(messages.status(count))

    def _follow(self, job: str, *, resumed: bool = False) -> None:
        if job not in self._following:
            self._told.add(job)
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

    async def _first_look(self) -> int:
        """Follow the jobs of this client that are under way; then wait until it takes its messages too slowly."""
        while self._since is None:
            expected = self.expected()
            try:
                self._since, jobs = await self._queue.sent(self.owner, self.client)
            except (QueueError, StorageError):
                await asyncio.sleep(_LOOK)
                continue
            self._apply(expected, jobs, resumed=True)
        await self._full.wait()
        return CUT

    def expected(self) -> frozenset[str]:
        """The jobs that are to begin."""
        return frozenset(self._waiting)

    def found(self, expected: Collection[str], jobs: Collection[Sent]) -> None:
        """These jobs of the client wait, run or are new, by whatever process; `expected` were before that was read."""
        if self._since is not None:
            self._apply(expected, jobs, resumed=False)
            self._told.intersection_update(job.id for job in jobs)  # the others are not found again

    def _apply(self, expected: Collection[str], jobs: Iterable[Sent], *, resumed: bool) -> None:
        gone = set(expected)
        for job in jobs:
            gone.discard(job.id)
            if job.state is JobState.WAITING:
                self._waiting.add(job.id)
            elif job.id not in self._told and not (job.state.over and job.number <= (self._since or 0)):
                self._waiting.discard(job.id)
                self._follow(job.id, resumed=resumed)
        for job_id in gone:  # it ended before anybody said that it began
            self.begins(job_id)

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
