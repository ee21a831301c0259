"""Many rows into a table of SQLite by one statement. Pure.

The driver lets other threads go first at each step of a statement, and has to wait for its turn after it: with one row
at a time that is most of what writing takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

_VALUES = 960  # in one statement; every SQLite takes so many


def insertions(
    table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]], ending: str = ""
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements, with their values, that write rows of these columns; `ending` is added to each statement."""
    most = _VALUES // len(columns)
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        yield _insertion(table, columns, len(part), ending), tuple(chain.from_iterable(part))


@cache
def _insertion(table: str, columns: tuple[str, ...], count: int, ending: str) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    row = f"({', '.join('?' * len(columns))})"
    return f'INSERT INTO "{table}" ({names}) VALUES {", ".join([row] * count)}{ending}'
