"""The numbers of jobs: each greater than all before, none used twice."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from comfyops.jobs import direct
from comfyops.jobs.tx import Tx

_LAST = text("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs'")
_NEXT = text("SELECT nextval(pg_get_serial_sequence('jobs', 'number')) FROM generate_series(1, :count)")


def last(tx: Tx) -> int:
    """The greatest so far. SQLite only: elsewhere others take numbers at the same time."""
    [(number,)] = direct.select(tx.connection, _LAST)
    return int(number)


def following(tx: Tx, count: int) -> Sequence[int]:
    """Numbers for new jobs. Asked for before they are written, so that no row has to come back."""
    if tx.connection.dialect.name != "sqlite":
        return sorted(tx.execute(_NEXT, {"count": count}).scalars())
    first = last(tx) + 1
    return range(first, first + count)
