"""Who writes into the database of the queue: one thread that commits all that waits at once (SQLite), or many threads.

What is written together, as jobs that come at the same moment, is handed over as a whole: one statement for many rows
costs little more than one for a single row.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue as queues
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine

from comfyops.errors import DatabaseError
from comfyops.jobs.database import WRITERS, translated
from comfyops.jobs.job import JobEvent
from comfyops.jobs.tx import Tx

CHANNEL = "comfyops"
"""The channel of PostgreSQL on which processes tell one another what they committed."""

_MOST_AT_ONCE = 128  # works in one transaction, SQLite only
_TRIES = 5
_TRY_AGAIN = ("40001", "40P01")  # PostgreSQL's words for: two transactions met, yours was undone, do it again

Told = Callable[[Sequence[JobEvent], frozenset[str]], None]
"""Hears, in the thread of the loop, of the events and wakes of what was committed."""

Together = Callable[[Tx, Sequence[Any]], Sequence[Any]]
"""Writes items; gives for each its result, or the error that is its own. Where it raises, its writes are undone, and
each item is tried alone."""


@dataclass(eq=False, slots=True)
class Work:
    """An item to write with others that have the same `together`, and who waits for its result."""

    together: Together
    item: Any
    now: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Done:
    """Works that were written or failed together: a result or an error for each, and what is to be told."""

    works: Sequence[Work]
    results: Sequence[Any]
    tx: Tx | None = None


class OneWriter:
    """A thread that commits in groups."""

    def __init__(self, target: Engine, told: Told) -> None:
        self._engine = target
        self._told = told
        self._waiting: queues.SimpleQueue[Work | None] = queues.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="comfyops-write", daemon=True)
        self._thread.start()

    def put(self, work: Work) -> None:
        """Have it written; its future is set once it is on disk, or has failed."""
        self._waiting.put(work)

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            work = self._waiting.get()
            group = []
            while work is not None:
                group.append(work)
                if len(group) >= _MOST_AT_ONCE or self._waiting.empty():
                    break
                work = self._waiting.get()
            _hand_out(self._commit(group), self._told)
            if work is None:
                return

    def _commit(self, group: Sequence[Work]) -> list[_Done]:
        if not group:
            return []
        done: list[_Done] = []
        try:
            with translated(), self._engine.connect() as plain:
                connection = plain.execution_options(writing=True)
                with connection.begin():
                    for _, part in groupby(group, key=lambda work: id(work.together)):
                        done += _attempt(connection, list(part))
        except BaseException as error:  # noqa: BLE001  (whoever waits for a result must get one)
            return [_Done(group, [error] * len(group))]
        return done


class ManyWriters:
    """Threads with a transaction each; the server groups them itself."""

    def __init__(self, target: Engine, told: Told, origin: str) -> None:
        self._engine = target
        self._told = told
        self._origin = origin
        self._threads = ThreadPoolExecutor(WRITERS, "comfyops-write")

    def put(self, work: Work) -> None:
        """Have it written; its future is set once it is committed, or has failed."""
        self._threads.submit(self._run, work)

    def close(self) -> None:
        """Write what waits, and end."""
        self._threads.shutdown()

    def _run(self, work: Work) -> None:
        try:
            done = self._persistently(work)
        except BaseException as error:  # noqa: BLE001  (whoever waits for a result must get one)
            done = _Done([work], [error])
        _hand_out([done], self._told)

    def _persistently(self, work: Work) -> _Done:
        left = _TRIES
        while True:
            try:
                with translated():
                    return self._once(work)
            except DatabaseError as error:
                left -= 1
                if not left or getattr(_cause(error), "sqlstate", None) not in _TRY_AGAIN:
                    raise

    def _once(self, work: Work) -> _Done:
        with self._engine.begin() as connection:
            tx = Tx(connection, work.now)
            results = work.together(tx, [work.item])
            for job in dict.fromkeys([*(event.job for event in tx.events), *tx.looks]):
                _notify(connection, f"{self._origin} job {job}")
            for name in tx.wakes:
                _notify(connection, f"{self._origin} wake {name}")
            return _Done([work], results, tx)


def _attempt(connection: Connection, works: Sequence[Work]) -> list[_Done]:
    """Write works that go together; where that fails each alone, so that none fails for another."""
    tx = Tx(connection, works[0].now)
    try:
        with translated(), tx.nested():
            return [_Done(works, works[0].together(tx, [work.item for work in works]), tx)]
    except Exception as error:
        raw: Any = connection.connection.driver_connection
        if not raw.in_transaction:  # nothing of the group was written
            raise
        failed = error
    if len(works) == 1:
        return [_Done(works, [failed])]
    return [done for work in works for done in _attempt(connection, [work])]


def _hand_out(done: Sequence[_Done], told: Told) -> None:
    """Tell each loop of what is its own, with one call."""
    loops = dict.fromkeys(work.loop for part in done for work in part.works)
    for loop in loops:
        with contextlib.suppress(RuntimeError):  # it was closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, loop, done, told)


def _settle(loop: asyncio.AbstractEventLoop, done: Sequence[_Done], told: Told) -> None:
    for part in done:
        if part.tx is not None and (part.tx.events or part.tx.wakes) and part.works[0].loop is loop:
            told(part.tx.events, frozenset(part.tx.wakes))
        for work, result in zip(part.works, part.results, strict=True):
            if work.loop is loop and not work.future.done():
                if isinstance(result, BaseException):
                    work.future.set_exception(result)
                else:
                    work.future.set_result(result)


def _cause(error: DatabaseError) -> object:
    """The driver's own error."""
    return getattr(error.__cause__, "orig", None)


def _notify(connection: Connection, words: str) -> None:
    connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, words))
