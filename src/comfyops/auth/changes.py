"""The list of changes that other processes look at: its newest revision tells whether anything has to be read again."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from comfyops.auth.records import Change
from comfyops.auth.schema import changes

_KEPT = 86_400.0  # seconds; who looks, looks every half second


def note(connection: Connection, kind: str, subject: str, now: float) -> None:
    """Write down that something changed, in the transaction that changes it."""
    connection.execute(delete(changes).where(changes.c.at < now - _KEPT))
    connection.execute(insert(changes).values(at=now, kind=kind, subject=subject))


def newest(connection: Connection) -> int:
    """The newest revision, 0 where nothing ever changed."""
    return connection.execute(select(func.max(changes.c.revision))).scalar_one() or 0


def since(connection: Connection, revision: int) -> tuple[Change, ...]:
    """What changed after a revision, oldest first."""
    columns = (changes.c.revision, changes.c.kind, changes.c.subject)
    rows = connection.execute(select(*columns).where(changes.c.revision > revision).order_by(changes.c.revision))
    return tuple(Change(*row) for row in rows)
