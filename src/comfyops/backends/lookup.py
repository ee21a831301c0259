"""Where a run is, asked from the server: the truth behind whatever the websocket says or leaves out.

The history of an unknown, a pending, a running and a forgotten run is the same empty answer. So the queue is read first
and the history after it: a run moves from one to the other in one step, so that order cannot miss it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import quote

from comfyops.backends import answers
from comfyops.backends.backend import QueuedRun
from comfyops.backends.events import Finished
from comfyops.backends.http import Http


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: `queued` while pending or running, `finished` once the history has it, neither = unknown.

    `head` are the ids of all runs that the server says are running, `number` is the run's own.
    """

    queued: QueuedRun | None = None
    finished: Finished | None = None
    head: tuple[str, ...] = ()
    number: float = 0

    @property
    def known(self) -> bool:
        """Whether the server knows the run."""
        return self.queued is not None or self.finished is not None

    @property
    def running(self) -> bool:
        """Whether the server says that the run is at work."""
        return self.queued is not None and self.queued.running


class Lookup:
    """Asks one server for queue and history; questions of many watchers at the same time share one answer."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._queue: tuple[QueuedRun, ...] = ()

    async def queue(self) -> tuple[QueuedRun, ...]:
        """The queue as it was after this call began."""
        called_at = time.monotonic()
        async with self._lock:
            if self._asked_at < called_at:
                asked_at = time.monotonic()
                self._queue = answers.queue(await self._http.get("/queue"))
                self._asked_at = asked_at
            return self._queue

    async def history(self, run_id: str) -> Place:
        """The finished run, or an unknown place; one request."""
        if run_id in ("", ".", ".."):  # would ask another route
            return Place()
        found = answers.history(await self._http.get(f"/history/{quote(run_id, safe='')}"), run_id)
        return Place(finished=found[0], number=found[1]) if found else Place()

    async def place(self, run_id: str) -> Place:
        """Where the run is."""
        queue = await self.queue()
        head = tuple(run.run_id for run in queue if run.running)
        for run in queue:
            if run.run_id == run_id:
                return Place(queued=run, head=head, number=run.number)
        return await self.history(run_id)
