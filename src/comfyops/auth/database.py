"""A SQLite file that only its owner can read, opened for many threads and processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from comfyops.errors import AccountError, StorageError

_WAIT = 10.0  # seconds for another process's write to end


class Database:
    """A SQLite file with mode 0600 in write-ahead mode: readers never wait, writers wait for each other.

    Raises StorageError where the file cannot be made or read; every error of the library becomes one too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _make_private(path)
        self._engine = _engine(path)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the file. Raises StorageError."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, alone among all writers; an error undoes all of it. Raises StorageError."""
        with self._translated(), self._engine.connect() as plain:
            connection = plain.execution_options(writing=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageError(f"{self.path} cannot be used: {error.orig}.", path=str(self.path)) from error
        except UnicodeEncodeError as error:
            raise AccountError("A name holds what is no Unicode.", hint="Write it in UTF-8.") from error


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror or error}.", path=str(path)) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _WAIT})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        alone = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if alone else "BEGIN")

    return engine
