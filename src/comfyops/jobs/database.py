"""Opening the database of the queue, and its errors as ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from comfyops.errors import DatabaseError, DiskFullError, MissingExtraError, StorageError

READERS = 4
"""Threads that read."""

WRITERS = 8
"""Threads that write, PostgreSQL only."""

_WAIT = 30.0  # seconds for another process's write to end


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
        pool_size=READERS + WRITERS,
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
    arguments = {"timeout": _WAIT, "check_same_thread": False, "cached_statements": 500}
    target = create_engine(f"sqlite:///{path}", connect_args=arguments, pool_size=READERS + 2)

    @event.listens_for(target, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what was accepted survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 8000")  # pages: many jobs fill the same ones again and again

    @event.listens_for(target, "begin")
    def begin(connection: Connection) -> None:
        alone = connection.get_execution_options().get("writing")
        raw: Any = connection.connection.driver_connection  # the library's own way costs more than the statement
        raw.execute("BEGIN IMMEDIATE" if alone else "BEGIN")

    return target


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the library inside become ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        words = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        if "disk is full" in words or "No space left" in words:
            raise DiskFullError("The database of the queue cannot be written: no space is left on the disk.") from error
        raise DatabaseError(f"The database of the queue cannot be used: {words[:300]}.") from error
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"The database of the queue cannot be used: {' '.join(str(error).split())[:300]}."
        ) from error
