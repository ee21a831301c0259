"""Whether an owner may have more waiting jobs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, text

from comfyops.errors import QueueFullError
from comfyops.jobs import direct, numbers, schema
from comfyops.jobs.tx import Tx

_RETRY_AFTER = 15  # seconds
_REMEMBERED = 10_000  # owners
_NEAR = 256  # jobs that others may be writing

_j = schema.jobs.c
_LIMIT = select(schema.quotas.c.max_waiting).where(schema.quotas.c.owner == bindparam("who"))
_WAITING = select(_j.number).where(_j.owner == bindparam("who"), schema.IS_WAITING).limit(bindparam("most"))
_COUNT = select(func.count()).select_from(_WAITING.subquery())
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('comfyops quota ' || :who, 0))")  # until the commit


@dataclass(frozen=True, slots=True)
class Room:
    """How many more waiting jobs an owner may have, None = any number."""

    owner: str
    jobs: int | None = None
    limit: int = 0

    def error(self) -> QueueFullError:
        """What one is told who has no room."""
        words = f"{self.owner} has {self.limit} waiting jobs already, which is all it may have."
        return QueueFullError(words, retry_after=_RETRY_AFTER, limit=self.limit)


class Rooms:
    """The rooms of all owners: what a quota leaves, or else `limit`.

    Every new job takes a number. So where there was room for a thousand jobs when they were counted, there is some for
    the next thousand numbers, and nobody has to count again. Jobs that wait once more were let in before.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._sure: dict[tuple[str, int], int] = {}  # by owner and limit: up to which number there is room

    def check(self, tx: Tx, owner: str, jobs: int) -> None:
        """Raise QueueFullError where there is no room for so many more."""
        room = self.find(tx, owner, jobs)
        if room.jobs is not None and room.jobs < jobs:
            raise room.error()

    def find(self, tx: Tx, owner: str, wanted: int) -> Room:
        """The room of an owner; where it is enough for `wanted` jobs, it may be more than this says."""
        limit = self._limit
        for (own,) in direct.select(tx.connection, _LIMIT, who=owner):
            limit = own if own is not None else limit
        if limit is None:
            return Room(owner)
        if tx.connection.dialect.name != "sqlite":
            return self._find_among_others(tx, owner, wanted, limit)
        last = numbers.last(tx)
        left = self._sure.get((owner, limit), 0) - last
        if left < wanted:
            left = limit - _count(tx, owner, limit)
            if len(self._sure) >= _REMEMBERED:
                self._sure.clear()
            self._sure[owner, limit] = last + left
        return Room(owner, left, limit)

    def _find_among_others(self, tx: Tx, owner: str, wanted: int, limit: int) -> Room:
        """The same where others write at the same time: near the limit, one after the other."""
        left = limit - _count(tx, owner, limit)
        if left < wanted + _NEAR:
            tx.execute(_ALONE, {"who": owner})
            left = limit - _count(tx, owner, limit)
        return Room(owner, left, limit)


def _count(tx: Tx, owner: str, most: int) -> int:
    [(waiting,)] = direct.select(tx.connection, _COUNT, who=owner, most=most)
    return int(waiting)
