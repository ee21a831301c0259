"""The database of the queue: SQLite for one machine, PostgreSQL for many, with one way to read and one to write.

On SQLite one thread writes, and commits all that waits at that moment at once: many small transactions then cost one
flush to disk. What was written is on disk before `write` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast
from uuid import uuid4

from sqlalchemy import Connection, text

from comfyops.errors import DatabaseError, StorageError
from comfyops.jobs import migrations
from comfyops.jobs.database import READERS, engine, translated
from comfyops.jobs.job import JobEvent
from comfyops.jobs.tx import Tx
from comfyops.jobs.writers import ManyWriters, OneWriter, Together, Told, Work

T = TypeVar("T")

_RETRY_PAUSES = (0.2, 1.0, 3.0, 10.0)  # seconds between attempts to write, then the last again and again


class Store:
    """One database. `told` is called, in the thread of the loop, with what each committed transaction told.

    `clock` gives seconds since the epoch. Raises DatabaseError where the database cannot be used or is of a newer
    ComfyOps, MissingExtraError.
    """

    def __init__(self, database: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ahead = 0.0  # of the database's clock before ours, in seconds
        self.engine = engine(database)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.told: Told = lambda events, wakes: None
        try:
            with translated():
                migrations.upgrade(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        self._readers = ThreadPoolExecutor(READERS, "comfyops-read")
        self.origin = uuid4().hex[:12]  # tells this process's notices from others'
        self._version = _Version(self.engine.url.database or "") if self.is_sqlite else None
        self._new: deque[Work] = deque()
        self._handing_over = False
        self._closed = False
        self._writer: OneWriter | ManyWriters
        if self.is_sqlite:
            self._writer = OneWriter(self.engine, self._tell)
        else:
            self._writer = ManyWriters(self.engine, self._tell, self.origin)

    def clock(self) -> float:
        """Seconds since the epoch, by the clock of the database: the same for all that work on it."""
        return self._clock() + self._ahead

    async def set_clock(self) -> None:
        """Compare our clock with the database's. On SQLite it is the same."""
        if not self.is_sqlite:
            now = text("SELECT extract(epoch FROM clock_timestamp())")
            theirs = float(await self.read(lambda connection: connection.execute(now).scalar_one()))
            self._ahead = theirs - self._clock()

    def version(self) -> int | None:
        """A number that is another one after every commit, whoever made it; None where the database has none.

        For the thread of the loop: it takes microseconds.
        """
        return self._version.read() if self._version is not None else None

    async def read(self, what: Callable[[Connection], T]) -> T:
        """The result of a function that only reads, run in a thread. Raises DatabaseError."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, what)

    async def write(self, what: Callable[[Tx], T]) -> T:
        """The result of a function that writes, once it is on disk. An error of its undoes it. Raises DatabaseError.

        The function may be called again where a commit failed before anything was written, so it must only write.
        """
        return cast(T, await self.write_together(lambda tx, _: [what(tx)], None))

    async def write_surely(self, what: Callable[[Tx], T]) -> T:
        """As `write`, of what must be written: tried again for as long as the database is away."""
        pauses = iter(_RETRY_PAUSES)
        pause = 0.0
        while True:
            try:
                return await self.write(what)
            except (DatabaseError, StorageError):
                pause = next(pauses, pause)
                await asyncio.sleep(pause)

    async def write_together(self, together: Together, item: Any) -> Any:
        """The result for an item of a function that writes many; items that wait for the same one are handed to it
        as a whole. See `Together`; else as `write`."""
        if self._closed:
            raise DatabaseError("The database of the queue is closed.")
        loop = asyncio.get_running_loop()
        future = loop.create_future()  # who is cancelled while it is written does not undo it
        self._new.append(Work(together, item, self.clock(), loop, future))
        if not self._handing_over:
            self._handing_over = True
            loop.call_soon(self._hand_over)  # what comes in this turn of the loop goes to the writer at once
        return await future

    def _hand_over(self) -> None:
        self._handing_over = False
        with contextlib.suppress(IndexError):
            while True:
                self._writer.put(self._new.popleft())

    def _tell(self, events: Sequence[JobEvent], wakes: frozenset[str]) -> None:
        self.told(events, wakes)

    def _read(self, what: Callable[[Connection], T]) -> T:
        with translated(), self.engine.connect() as connection:
            return what(connection)

    def close(self) -> None:
        """Finish what is being written and let the database go."""
        self._closed = True
        self._hand_over()
        self._writer.close()
        self._readers.shutdown()
        if self._version is not None:
            self._version.close()
        self.engine.dispose()


class _Version:
    """A connection to SQLite that never writes: to it every commit is another's, and shows."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)

    def read(self) -> int | None:
        try:
            [(number,)] = self._connection.execute("PRAGMA data_version").fetchall()
        except sqlite3.Error:
            return None
        return int(number)

    def close(self) -> None:
        self._connection.close()
