"""Statements that every new job needs: on SQLite past the library, which takes longer for them than the database.

There many rows go in by one statement. The driver lets other threads run at each step of a statement, and has to wait
for its turn after it, which with one row at a time is most of what writing takes.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from comfyops.jobs.tx import Tx

BROKEN_RULE = (IntegrityError, sqlite3.IntegrityError)
"""What is raised where a row breaks a rule of its table."""

_VALUES = 960  # in one statement; every SQLite takes so many


def select(connection: Connection, statement: Any, **values: Any) -> Sequence[Any]:
    """The rows of a statement that is made once, with these values for its names."""
    if connection.dialect.name != "sqlite":
        return connection.execute(statement, values).all()
    words, names, own = _text(statement)
    found: list[Any] = _driver(connection).execute(words, [{**own, **values}[name] for name in names]).fetchall()
    return found


def add(tx: Tx, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str = "", changes: str = "") -> None:
    """Write rows, all with the same columns; one whose `key` is there already is left, but for its column `changes`.

    No two rows have the same key. Raises `BROKEN_RULE`.
    """
    if tx.connection.dialect.name != "sqlite":
        tx.execute(_adding(table, key, changes), rows)
        return
    columns = tuple(rows[0])
    most = _VALUES // len(columns)
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        words = _insertion(table.name, columns, len(part), key, changes)
        _driver(tx.connection).execute(words, [row[column] for row in part for column in columns])


@functools.cache
def _adding(table: Table, key: str, changes: str) -> Any:
    statement = postgresql.insert(table)
    if changes:
        return statement.on_conflict_do_update(index_elements=[key], set_={changes: statement.excluded[changes]})
    return statement.on_conflict_do_nothing(index_elements=[key]) if key else statement


@functools.cache
def _text(statement: Any) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    return compiled.string, tuple(compiled.positiontup or ()), compiled.params


@functools.cache
def _insertion(table: str, columns: tuple[str, ...], count: int, key: str, changes: str) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    row = f"({', '.join('?' * len(columns))})"
    then = f'UPDATE SET "{changes}" = excluded."{changes}"' if changes else "NOTHING"
    ending = f' ON CONFLICT ("{key}") DO {then}' if key else ""
    return f'INSERT INTO "{table}" ({names}) VALUES {", ".join([row] * count)}{ending}'


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
