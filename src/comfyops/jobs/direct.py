"""Statements that every new job needs: on SQLite past the library, which takes longer for them than the database."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from comfyops.jobs.tx import Tx
from comfyops.support.sqlite_rows import insertions

BROKEN_RULE = (IntegrityError, sqlite3.IntegrityError)
"""What is raised where a row breaks a rule of its table."""


def select(connection: Connection, statement: Any, **values: Any) -> Sequence[Any]:
    """The rows of a statement that is made once, with these values for its names."""
    if connection.dialect.name != "sqlite":
        return connection.execute(statement, values).all()
    words, names, own = _text(statement)
    given = {**own, **values}
    found: list[Any] = _driver(connection).execute(words, [given[name] for name in names]).fetchall()
    return found


def add(tx: Tx, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str = "", changes: str = "") -> None:
    """Write rows, all with the same columns; one whose `key` is there already is left, but for its column `changes`.

    No two rows have the same key. Raises `BROKEN_RULE`.
    """
    if tx.connection.dialect.name != "sqlite":
        tx.execute(_adding(table, key, changes), rows)
        return
    columns = tuple(rows[0])
    values = [[row[column] for column in columns] for row in rows]
    for words, given in insertions(table.name, columns, values, _ending(key, changes)):
        _driver(tx.connection).execute(words, given)


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


def _ending(key: str, changes: str) -> str:
    then = f'UPDATE SET "{changes}" = excluded."{changes}"' if changes else "NOTHING"
    return f' ON CONFLICT ("{key}") DO {then}' if key else ""


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
