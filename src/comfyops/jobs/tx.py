"""A transaction that writes, and the statements that add rows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from comfyops.jobs.job import JobEvent


@dataclass
class Tx:
    """A transaction: its connection, the time it goes by, and the events that are told once it is committed."""

    connection: Connection
    now: float
    events: list[JobEvent] = field(default_factory=list)
    wakes: set[str] = field(default_factory=set)  # who has to look again, see `hub`
    looks: set[str] = field(default_factory=set)  # jobs that watchers in other processes shall look at

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


def upsert(tx: Tx, table: Table, new: Mapping[str, Any], key: Sequence[str], changes: Mapping[str, Any]) -> Any:
    """The statement that writes a row, or makes `changes` (none = leave it) where one of this key is there."""
    dialect = tx.connection.dialect.name
    if not changes:
        return _adding(dialect, table).values(**new)
    statement = _insert(dialect)(table).values(**new)
    return statement.on_conflict_do_update(index_elements=list(key), set_=dict(changes))


@functools.cache
def _adding(dialect: str, table: Table) -> Any:
    """The statement that writes a row, or leaves the one that is there. To make one takes longer than to run it."""
    return _insert(dialect)(table).on_conflict_do_nothing()


def _insert(dialect: str) -> Any:
    return sqlite_insert if dialect == "sqlite" else pg_insert
