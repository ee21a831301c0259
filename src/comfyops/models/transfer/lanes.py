"""The connections shared by all files: threads that take a segment, fetch it, and take the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from comfyops.errors import InternalError
from comfyops.models.transfer.answers import Outcome, shown
from comfyops.models.transfer.fetching import Fetcher
from comfyops.models.transfer.http import Connections, Tls
from comfyops.models.transfer.pacing import ENOUGH, Hosts, RateLimit, longest_wait, span
from comfyops.models.transfer.ranges import Segment
from comfyops.models.transfer.request import TransferSettings
from comfyops.models.transfer.work import Work

_PATIENCE = 0.2  # seconds after which a thread without work looks again
_LIES = 3  # answers with a wrong range that are put up with, before the file is asked for as a whole
_BUSY_WAIT = 1.0  # seconds, where a busy server does not say how long


class Lanes:
    """Hands segments of the files being fetched to `connections` threads, and judges what became of them."""

    def __init__(self, settings: TransferSettings, tls: Tls, paused: threading.Event) -> None:
        self._settings = settings
        self._tls = tls
        self.hosts = Hosts(settings.connections)
        self._rate = RateLimit(settings.limit_rate)
        self._works: list[Work] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.paused = paused

    def add(self, work: Work) -> None:
        """Begin to fetch a file; threads are started as there is work for them."""
        with self._changed:
            self._works.append(work)
            useful = min(self._settings.connections, len(self._threads) + self._settings.per_file)
            while len(self._threads) < useful:
                thread = threading.Thread(target=self._lane, name=f"download-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def remove(self, work: Work) -> None:
        """Fetch no more of a file; returns when no thread writes into it."""
        work.stop.set()
        with self._changed:
            self._works.remove(work)
            while work.connections:
                work.abort()
                self._changed.wait(_PATIENCE)

    def wake(self) -> None:
        """Something changed (a new address, the end of a pause)."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(self._settings.stall_timeout + 5)

    def _lane(self) -> None:
        connections = Connections(self._settings, self._tls)
        fetcher = Fetcher(self._settings, connections, self._rate, self.paused)
        try:
            while (job := self._take()) is not None:
                work, segment = job
                began = time.monotonic()
                outcome = _safely(fetcher, work, segment)
                self._finish(work, segment, outcome, began)
        finally:
            connections.close()

    def _take(self) -> tuple[Work, Segment] | None:
        """The next segment to fetch; waits for one. None when it is time to end."""
        with self._changed:
            while not self._closing:
                if not self.paused.is_set() and (job := self._choose()) is not None:
                    job[0].connections += 1
                    return job
                self._changed.wait(_PATIENCE)
            return None

    def _choose(self) -> tuple[Work, Segment] | None:
        ready = sorted((work for work in self._works if self._may(work)), key=lambda work: (-work.priority, work.order))
        share = self._share()
        for crowd in ([work for work in ready if work.connections < share], ready):
            for work in crowd:
                if (segment := work.ranges.take(work.ranges.size if work.whole else work.segment_length)) is not None:
                    return work, segment
        for work in ready:
            if not work.whole and (segment := work.ranges.steal()) is not None:
                return work, segment
        return None

    def _share(self) -> int:
        """Connections that every file gets, before any gets more."""
        return max(1, self._settings.connections // max(1, len(self._works)))

    def claim(self, work: Work) -> None:
        """Where a file has less than its share and others hold more, or hold theirs with less right: one of their
        connections is free at once, instead of at the end of its segment, which may be minutes away.
        """
        with self._changed:
            share = 1 if work.whole else self._share()
            if work.connections >= share or not work.ranges.gaps or work.blocked or self.hosts.wait(work.host) > 0:
                return
            full = not self._may(work)  # its host puts up with no more connections
            others = [
                other
                for other in self._works
                if not (other.whole or (full and other.host != work.host))
                and (other.connections > share or other.priority < work.priority)
            ]
            richest = max(others, key=lambda other: (other.connections, -other.priority), default=None)
            if richest is not None:
                richest.ranges.cut()

    def _may(self, work: Work) -> bool:
        """Whether one more connection may work on this file."""
        if work.blocked or work.connections >= (1 if work.whole else self._settings.per_file):
            return False
        host = work.host
        busy = sum(other.connections for other in self._works if other.host == host)
        return busy < self.hosts.limit(host) and self.hosts.wait(host) <= 0

    def _finish(self, work: Work, segment: Segment, outcome: Outcome, began: float) -> None:
        with self._changed:
            work.connections -= 1
            work.ranges.give_back(segment)
            if outcome.trouble is None or segment.position > segment.start:
                self.hosts.answered(work.host)
            broke_on_the_way = outcome.kind == "again" and segment.position - segment.start >= ENOUGH
            if not work.stop.is_set() and not broke_on_the_way:
                self._judge(work, outcome, began)
            work.moved.set()
            self._changed.notify_all()

    def _judge(self, work: Work, outcome: Outcome, began: float) -> None:
        """What follows from an outcome; holds the lock."""
        if outcome.kind == "done":
            self.hosts.served(work.host)
        elif outcome.kind == "lied":
            work.lies += 1
            if work.lies <= _LIES or not _as_a_whole(work):
                self._failed(work, outcome, began)
        elif outcome.kind == "whole":
            _as_a_whole(work)
        elif outcome.kind in ("changed", "restart", "refused"):
            work.end(outcome)
        elif outcome.kind in ("again", "busy") or (outcome.kind in ("expired", "moved") and began >= work.located_at):
            self._failed(work, outcome, began)

    def _failed(self, work: Work, outcome: Outcome, began: float) -> None:
        if outcome.kind in ("expired", "moved"):
            work.blocked, work.moved_to = True, outcome.location
        pause = work.patience.failed(began, outcome.trouble, reached=self.hosts.reached(work.host))
        if pause is None:
            work.end(Outcome("again", outcome.reason))
        elif outcome.kind == "busy":
            self._leave_alone(work, outcome, pause)
        elif outcome.kind in ("again", "lied"):
            self.hosts.hold(work.host, pause)

    def _leave_alone(self, work: Work, outcome: Outcome, pause: float) -> None:
        wait = max(pause, _BUSY_WAIT if outcome.wait is None else outcome.wait)
        if wait > longest_wait(self._settings.longest_hold, patient=work.patience.patient):
            work.end(Outcome("again", f"{outcome.reason}, and it wants to be left alone for {span(wait)}"))
        else:
            self.hosts.busy(work.host, wait)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """The state of the files stands still: nobody takes or gives back a segment."""
        with self._changed:
            yield


def _as_a_whole(work: Work) -> bool:
    """Ask for no more ranges of it; whether that is new. Holds the lock."""
    if work.whole:
        return False
    work.whole = True
    work.ranges.forget_beyond_frontier()
    return True


def _safely(fetcher: Fetcher, work: Work, segment: Segment) -> Outcome:
    """A fault of ours must end the file, not leave it waiting for a thread that is gone."""
    try:
        return fetcher.fetch(work, segment)
    except Exception as fault:  # noqa: BLE001
        return Outcome("refused", error=InternalError(f"Fetching {shown(work.location)} failed: {fault!r}."))
