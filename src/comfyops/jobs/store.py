"""The database of the queue: SQLite for one machine, PostgreSQL for many, with one way to read and one to write.

On SQLite one thread writes, and commits all that waits at that moment at once: many small transactions then cost one
flush to disk. What was written is on disk before `write` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue as queues
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from comfyops.errors import DatabaseError, DiskFullError, MissingExtraError, StorageError
from comfyops.jobs import migrations
from comfyops.jobs.job import JobEvent

T = TypeVar("T")

_WAIT = 30.0  # seconds for another process's write to end
_READERS = 4  # threads
_WRITERS = 8  # threads, PostgreSQL only
_MOST_AT_ONCE = 128  # writes in one transaction, SQLite only
_TRIES = 5
_TRY_AGAIN = ("40001", "40P01")  # PostgreSQL's words for: two transactions met, yours was undone, do it again


@dataclass
class Tx:
    """A transaction: its connection, the time it goes by, and the events that are told once it is committed."""

    connection: Connection
    now: float
    events: list[JobEvent] = field(default_factory=list)
    wakes: set[str] = field(default_factory=set)  # who has to look again, see `hub`
    looks: set[str] = field(default_factory=set)  # jobs that watchers in other processes shall look at

    def forget(self) -> None:
        """Tell nothing: the transaction was undone."""
        self.events.clear()
        self.wakes.clear()
        self.looks.clear()

    @contextlib.contextmanager
    def nested(self) -> Iterator[None]:
        """A part that is undone by itself where it fails.

        Past the library on SQLite, where it costs more than the statements inside.
        """
        if self.connection.dialect.name != "sqlite":
            with self.connection.begin_nested():
                yield
            return
        raw: Any = self.connection.connection.driver_connection
        raw.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if raw.in_transaction:  # else the database undid all
                raw.execute("ROLLBACK TO part")
                raw.execute("RELEASE part")
            raise
        raw.execute("RELEASE part")

    def execute(self, *arguments: Any) -> Any:
        """Run a statement."""
        return self.connection.execute(*arguments)


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
        self.told: Callable[[Sequence[JobEvent], frozenset[str]], None] = lambda events, wakes: None
        try:
            with translated():
                migrations.upgrade(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        self._readers = ThreadPoolExecutor(_READERS, "comfyops-read")
        self.origin = uuid4().hex[:12]  # tells this process's notices from others'
        self._version = _Version(self.engine.url.database or "") if self.is_sqlite else None
        self._writer: _OneWriter | _ManyWriters
        self._writer = _OneWriter(self.engine) if self.is_sqlite else _ManyWriters(self.engine, self.origin)

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
        tx = Tx(None, self.clock())  # type: ignore[arg-type]  # the connection is set where the transaction begins
        future = asyncio.wrap_future(self._writer.put(tx, what))
        future.add_done_callback(lambda done: self._tell(tx, done))
        return await asyncio.shield(future)  # who is cancelled while it is written does not undo it

    def _tell(self, tx: Tx, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and (tx.events or tx.wakes):
            self.told(tx.events, frozenset(tx.wakes))

    def _read(self, what: Callable[[Connection], T]) -> T:
        with translated(), self.engine.connect() as connection:
            return what(connection)

    def close(self) -> None:
        """Finish what is being written and let the database go."""
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


class _OneWriter:
    """A thread that commits in groups."""

    def __init__(self, target: Engine) -> None:
        self._engine = target
        self._waiting: queues.SimpleQueue[tuple[Tx, Callable[[Tx], Any], Future[Any]] | None] = queues.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="comfyops-write", daemon=True)
        self._thread.start()

    def put(self, tx: Tx, what: Callable[[Tx], T]) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.put((tx, what, future))
        return future

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            item = self._waiting.get()
            group = []
            while item is not None:
                group.append(item)
                if len(group) >= _MOST_AT_ONCE or self._waiting.empty():
                    break
                item = self._waiting.get()
            _commit_group(self._engine, group)
            if item is None:
                return


def _commit_group(target: Engine, group: Sequence[tuple[Tx, Callable[[Tx], Any], Future[Any]]]) -> None:
    if not group:
        return
    results: list[tuple[Future[Any], Any, BaseException | None]] = []
    try:
        with translated(), target.connect() as plain:
            connection = plain.execution_options(writing=True)
            with connection.begin():
                for tx, what, future in group:
                    tx.connection = connection
                    results.append((future, *_attempt(tx, what)))
    except BaseException as error:  # noqa: BLE001  (whoever waits for a result must get one)
        results = [(future, None, error) for _, _, future in group]
    for future, result, failure in results:
        _settle(future, result, failure)


def _attempt(tx: Tx, what: Callable[[Tx], Any]) -> tuple[Any, BaseException | None]:
    try:
        with translated(), tx.nested():
            return what(tx), None
    except Exception as error:
        raw: Any = tx.connection.connection.driver_connection
        if not raw.in_transaction:  # nothing of the group was written
            raise
        tx.forget()
        return None, error  # it is the caller's; the others of the group go on


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _cause(error: DatabaseError) -> object:
    """The driver's own error."""
    return getattr(error.__cause__, "orig", None)


class _ManyWriters:
    """Threads with a transaction each; the server groups them itself."""

    def __init__(self, target: Engine, origin: str) -> None:
        self._engine = target
        self._origin = origin
        self._threads = ThreadPoolExecutor(_WRITERS, "comfyops-write")

    def put(self, tx: Tx, what: Callable[[Tx], T]) -> Future[T]:
        return self._threads.submit(self._run, tx, what)

    def close(self) -> None:
        self._threads.shutdown()

    def _run(self, tx: Tx, what: Callable[[Tx], T]) -> T:
        left = _TRIES
        while True:
            try:
                with translated():
                    return self._once(tx, what)
            except DatabaseError as error:
                left -= 1
                if not left or getattr(_cause(error), "sqlstate", None) not in _TRY_AGAIN:
                    raise
                tx.forget()

    def _once(self, tx: Tx, what: Callable[[Tx], T]) -> T:
        with self._engine.begin() as connection:
            tx.connection = connection
            result = what(tx)
            for job in dict.fromkeys([*(event.job for event in tx.events), *tx.looks]):
                _notify(connection, f"{self._origin} job {job}")
            for name in tx.wakes:
                _notify(connection, f"{self._origin} wake {name}")
            return result


def upsert(tx: Tx, table: Table, new: Mapping[str, Any], key: Sequence[str], changes: Mapping[str, Any]) -> Any:
    """The statement that writes a row, or makes `changes` (none = leave it) where one of this key is there."""
    dialect = tx.connection.dialect.name
    if not changes:
        return adding(dialect, table).values(**new)
    statement = _insert(dialect)(table).values(**new)
    return statement.on_conflict_do_update(index_elements=list(key), set_=dict(changes))


@functools.cache
def adding(dialect: str, table: Table) -> Any:
    """The statement that writes a row, or leaves the one that is there. To make one takes longer than to run it."""
    return _insert(dialect)(table).on_conflict_do_nothing()


def _insert(dialect: str) -> Any:
    return sqlite_insert if dialect == "sqlite" else pg_insert


CHANNEL = "comfyops"
"""The channel of PostgreSQL on which processes tell one another what they committed."""


def _notify(connection: Connection, words: str) -> None:
    connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, words))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the library inside become ours."""
    try:
        yield
    except DBAPIError as error:
        words = " ".join(str(error.orig).split())
        if "disk is full" in words or "No space left" in words:
            raise DiskFullError("The database of the queue cannot be written: no space is left on the disk.") from error
        raise DatabaseError(f"The database of the queue cannot be used: {words[:300]}.") from error
    except sqlite3.Error as error:
        raise DatabaseError(f"The database of the queue cannot be used: {error}.") from error
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"The database of the queue cannot be used: {' '.join(str(error).split())[:300]}."
        ) from error


def engine(database: str) -> Engine:
    """The engine for an address. Raises DatabaseError, StorageError, MissingExtraError."""
    try:
        url = make_url(database)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite":
            return _sqlite(Path(url.database or ""))
        if url.get_backend_name() == "postgresql":
            return _postgresql(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseError(f"{_masked(database)!r} is not the address of a database.") from error
    except ModuleNotFoundError as error:
        hint = "Install it: pip install 'comfyops[postgresql]'."
        raise MissingExtraError("The client for PostgreSQL is not installed.", hint=hint) from error
    hint = "Give sqlite:///path or postgresql://user@host/name."
    raise DatabaseError(f"{_masked(database)!r} is neither SQLite nor PostgreSQL.", hint=hint)


def _masked(database: str) -> str:
    return database.split("@")[-1][:80]


def _postgresql(url: Any) -> Engine:
    # A frozen process must not hold locks for good.
    options = "-c idle_in_transaction_session_timeout=20000"
    return create_engine(
        url,
        pool_size=_READERS + _WRITERS,
        max_overflow=2,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "options": options, "application_name": "comfyops"},
    )


def _sqlite(path: Path) -> Engine:
    if not path.name:
        raise DatabaseError("The address of the SQLite database names no file.", hint="Give sqlite:///path.")
    make_private(path)
    return _sqlite_engine(path)


def make_private(path: Path) -> None:
    """Make a file, where it is not there, that only its owner can read. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror or error}.", path=str(path)) from error


def _sqlite_engine(path: Path) -> Engine:
    target = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": _WAIT, "check_same_thread": False}, pool_size=_READERS + 2
    )

    @event.listens_for(target, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what was accepted survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(target, "begin")
    def begin(connection: Connection) -> None:
        alone = connection.get_execution_options().get("writing")
        raw: Any = connection.connection.driver_connection  # the library's own way costs more than the statement
        raw.execute("BEGIN IMMEDIATE" if alone else "BEGIN")

    return target
