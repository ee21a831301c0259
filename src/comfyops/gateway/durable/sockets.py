"""Websockets of clients over the durable queue: each hears of the jobs that it submitted, and of no others.

All sockets share one look at what happens in the queue. A job that waits costs nothing; one that begins is followed, by
each socket of its client, until it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from itertools import groupby
from typing import Any

from comfyops.errors import QueueError, StorageError
from comfyops.gateway.durable.socket import DurableSocket
from comfyops.gateway.exchange import Receive, Send
from comfyops.gateway.prompts import LONGEST_CLIENT
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Limits
from comfyops.jobs.hub import EVERY_JOB, rest
from comfyops.jobs.job import JobEvent, JobState
from comfyops.jobs.queue import Queue
from comfyops.jobs.reading import Sent

_GATHER = 0.02  # seconds in which changes are told together
_LOOK = 5.0  # seconds between looks for jobs that came by other processes

Features = Callable[[], Awaitable[Mapping[str, Any]]]
"""What a server says that it can do."""


def _client_of(job: Sent) -> tuple[str, str]:
    return job.owner, job.client


class DurableSockets:
    """All open sockets."""

    def __init__(self, queue: Queue, limits: Limits) -> None:
        self._queue = queue
        self._limits = limits
        self._open: dict[str, set[DurableSocket]] = {}  # by owner
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._elsewhere = asyncio.Event()  # another process told of a job that no socket knows

    async def serve(
        self,
        owner: str,
        client: str,
        receive: Receive,
        send: Send,
        *,
        known: Callable[[DurableSocket], None],
        features: Features,
    ) -> None:
        """Serve one client until it ends. Raises RefusedError before it was accepted."""
        if len(client) > LONGEST_CLIENT:
            raise RefusedError(400, "invalid_client_id", "The clientId is too long.")
        socket = DurableSocket(self._queue, owner, client, self._limits, features)
        self._open.setdefault(owner, set()).add(socket)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="comfyops-sockets")
        known(socket)
        try:
            await socket.run(receive, send, await self._queue.under_way(owner))
        finally:
            self._closed(socket)

    def _closed(self, socket: DurableSocket) -> None:
        same = self._open[socket.owner]
        same.discard(socket)
        if not same:
            del self._open[socket.owner]
        if not self._open and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def expect(self, owner: str, client: str, job: str) -> list[DurableSocket]:
        """A client of an owner is about to have a new job; gives the sockets that did not expect it."""
        return [socket for socket in self._open.get(owner, ()) if socket.client == client and socket.expect(job)]

    def __len__(self) -> int:
        return sum(len(same) for same in self._open.values())

    async def _watch(self) -> None:
        """Have jobs followed as soon as they begin: what they tell in passing is not told again."""
        helpers = [asyncio.create_task(work) for work in (self._tell(), self._look())]
        try:
            with self._queue.hub.watch(EVERY_JOB) as channel:
                while True:
                    self._news(await channel.get())
                    self._changed.set()
        finally:
            for helper in helpers:
                helper.cancel()

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER)
            self._changed.clear()
            for owner in tuple(self._open):
                await self._tell_remaining(owner)

    async def _look(self) -> None:
        """Look for jobs that came by other processes, once for all sockets."""
        seen, newest = None, 2**62
        while True:
            version = self._queue.store.version()
            if version is None or version != seen:
                with contextlib.suppress(QueueError, StorageError):
                    newest = await self._look_once(newest)
                    seen = version
            await rest(self._elsewhere, _LOOK)
            self._elsewhere.clear()

    async def _look_once(self, since: int) -> int:
        """Tell the sockets of the jobs of their clients; the newest number then."""
        expected = {socket: socket.expected() for same in self._open.values() for socket in same}
        newest, jobs = await self._queue.sent(since=since)
        found = {client: list(theirs) for client, theirs in groupby(jobs, key=_client_of)}
        for socket, before in expected.items():
            socket.found(before, found.get((socket.owner, socket.client), ()))
        return newest

    def _news(self, event: JobEvent | None) -> None:
        if event is None or event.data.get("state") == JobState.WAITING:
            return
        known = [socket.begins(event.job) for same in self._open.values() for socket in same]
        if event.type == "look" and not any(known):
            self._elsewhere.set()

    async def _tell_remaining(self, owner: str) -> None:
        with contextlib.suppress(QueueError, StorageError):
            remaining = await self._queue.under_way(owner)
            for socket in self._open.get(owner, ()):
                socket.remaining(remaining)
