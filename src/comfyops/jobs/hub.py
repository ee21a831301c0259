"""Who is told what inside one process: events of jobs go to those who watch them, wakes to those who wait for work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from comfyops.jobs.job import JobEvent

PLACE = "place"
"""The wake of dispatchers: something may be placed now."""

NEW = "new"
"""The wake of dispatchers: there are new jobs, which may be placed where a backend is free."""

CANCEL = "cancel"
"""The wake of dispatchers: somebody wants a job of theirs stopped."""

PROBE = "probe"
"""The wake of dispatchers: a backend was added or changed."""

DELIVER = "deliver"
"""The wake of who sends webhooks."""

EVERY_JOB = ""
"""Watching this tells of every job's changes of state, and of jobs that other processes changed (type "look")."""

_MOST = 2000  # unread events of one watcher; then passing ones are dropped


class Hub:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[asyncio.Queue[JobEvent | None]]] = {}
        self._wakes: dict[str, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def watch(self, job: str) -> Iterator[asyncio.Queue[JobEvent | None]]:
        """The events of a job from now on; None among them = look into the database."""
        channel: asyncio.Queue[JobEvent | None] = asyncio.Queue()
        self._watchers.setdefault(job, []).append(channel)
        try:
            yield channel
        finally:
            self._watchers[job].remove(channel)
            if not self._watchers[job]:
                del self._watchers[job]

    @contextlib.contextmanager
    def awake(self, *names: str) -> Iterator[asyncio.Event]:
        """An event that is set at each wake of these names."""
        event = asyncio.Event()
        for name in names:
            self._wakes.setdefault(name, []).append(event)
        try:
            yield event
        finally:
            for name in names:
                self._wakes[name].remove(event)

    def told(self, events: Sequence[JobEvent], wakes: frozenset[str]) -> None:
        """Deal out what a transaction of this process told."""
        for event in events if self._watchers else ():
            self.put(event)
        for name in wakes:
            self.wake(name)

    def put(self, event: JobEvent) -> None:
        """Give an event to the watchers of its job."""
        everybody = self._watchers.get(EVERY_JOB, ()) if event.type == "state" else ()
        for channel in (*self._watchers.get(event.job, ()), *everybody):
            if event.seq or channel.qsize() < _MOST:
                channel.put_nowait(event)

    def look(self, job: str | None = None) -> None:
        """Have the watchers of a job, or of all, look into the database: another process wrote."""
        for channel in self._watchers.get(EVERY_JOB, ()) if job else ():
            if channel.qsize() < _MOST:
                channel.put_nowait(JobEvent(job or "", 0, "look", 0.0))
        for channels in [self._watchers.get(job, [])] if job else list(self._watchers.values()):
            for channel in channels:
                if channel.qsize() < _MOST:
                    channel.put_nowait(None)

    def wake(self, name: str) -> None:
        """Wake those who wait for this name."""
        for event in self._wakes.get(name, ()):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody: something may have been missed."""
        for name in self._wakes:
            self.wake(name)

    def watched(self, job: str) -> bool:
        """Whether anybody here watches a job."""
        return job in self._watchers


async def rest(woken: asyncio.Event, seconds: float) -> None:
    """Wait for a wake, or for so long. A cancellation at the same moment counts, which `asyncio.wait_for` may lose."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
