"""Wrong attempts, counted in the database for all processes: who has had too many waits, longer each time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from comfyops.auth.database import Database
from comfyops.auth.schema import attempts
from comfyops.errors import TooManyAttemptsError

FORGOTTEN = 900.0
"""Seconds after which wrong attempts no longer count."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Who is counted ("account:ann", "address:10.0.0.7"), how many wrong ones are free, the longest wait in seconds."""

    subject: str
    free: int
    longest: float

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many wrong attempts: 1, 2, 4, ... from the last free one on."""
        over = failures - self.free
        return 0.0 if over < 0 else min(self.longest, 2.0 ** min(over, 32))


class Attempts:
    """The wrong attempts of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, limits: Iterable[Limit], now: float) -> None:
        """Count an attempt as wrong before it is looked at, so that many at once are not all free.

        `succeeded` takes it back. Raises TooManyAttemptsError, and then counts nothing.
        """
        wanted = tuple(limits)
        with self._database.writing() as connection:
            waiting = max(_blocked_until(connection, limit, now) for limit in wanted) - now
            if waiting > 0:
                raise too_many(waiting)
            for limit in wanted:
                _count(connection, limit, now)

    def succeeded(self, limits: Iterable[Limit], forgiven: str) -> None:
        """Take back the attempt that `begin` counted; all those of the subject `forgiven` are forgotten.

        Others keep theirs: who has one account cannot wipe out what their address did to others.
        """
        with self._database.writing() as connection:
            connection.execute(delete(attempts).where(attempts.c.subject == forgiven))
            others = [limit.subject for limit in limits if limit.subject != forgiven]
            mine = attempts.c.subject.in_(others) & (attempts.c.failures > 0)
            connection.execute(update(attempts).where(mine).values(failures=attempts.c.failures - 1, blocked_until=0.0))


def too_many(seconds: float) -> TooManyAttemptsError:
    """The error for somebody who has to wait."""
    whole = max(1, int(seconds + 0.999))
    return TooManyAttemptsError(f"Too many wrong attempts; wait {whole} s.", retry_after=whole)


def _blocked_until(connection: Connection, limit: Limit, now: float) -> float:
    wanted = select(attempts.c.blocked_until).where(attempts.c.subject == limit.subject)
    return min(connection.execute(wanted).scalar_one_or_none() or 0.0, now + limit.longest)


def _count(connection: Connection, limit: Limit, now: float) -> None:
    connection.execute(delete(attempts).where(attempts.c.last_at < now - FORGOTTEN))
    wanted = select(attempts.c.failures).where(attempts.c.subject == limit.subject)
    failures = (connection.execute(wanted).scalar_one_or_none() or 0) + 1
    values = {"failures": failures, "last_at": now, "blocked_until": now + limit.wait(failures)}
    row = insert(attempts).values(subject=limit.subject, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["subject"], set_=values))
