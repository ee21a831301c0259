"""How much each owner may have: jobs that run at once, jobs that wait, and the weight of its turns."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, select, text

from comfyops.errors import QueueFullError, UsageError
from comfyops.jobs import direct, hub, schema
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert

_RETRY_AFTER = 15  # seconds


@dataclass(frozen=True, slots=True)
class Quota:
    """What one owner may have; None = no limit. An owner of twice the weight gets twice the turns."""

    owner: str
    max_running: int | None = None
    max_waiting: int | None = None
    weight: float = 1.0


class Quotas:
    """The quotas of all owners; an owner without one has no limits but those of the settings, and weight 1."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ls(self) -> tuple[Quota, ...]:
        """Every quota that was set."""
        return await self._store.read(read_all)

    async def get(self, owner: str) -> Quota:
        """The quota of an owner."""
        return next((quota for quota in await self.ls() if quota.owner == owner), Quota(owner))

    async def set(self, quota: Quota) -> None:
        """Set the quota of its owner; at once for what is placed from now on. Raises UsageError."""
        limits = (quota.max_running, quota.max_waiting)
        if quota.weight <= 0 or any(limit is not None and limit < 0 for limit in limits) or not quota.owner:
            raise UsageError("A quota needs an owner, limits of 0 or more and a weight above 0.")
        await self._store.write(lambda tx: _set(tx, quota))

    async def remove(self, owner: str) -> None:
        """Set an owner back to no limits."""
        await self._store.write(lambda tx: tx.execute(delete(schema.quotas).where(schema.quotas.c.owner == owner)))


_j = schema.jobs.c
_LIMIT = select(schema.quotas.c.max_waiting).where(schema.quotas.c.owner == bindparam("who"))
_WAITING = select(_j.number).where(_j.owner == bindparam("who"), schema.IS_WAITING).limit(bindparam("most"))
_COUNT = select(func.count()).select_from(_WAITING.subquery())
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('comfyops quota ' || :who, 0))")  # until the commit


def read_all(connection: Connection) -> tuple[Quota, ...]:
    """Every quota that was set."""
    return tuple(Quota(**row._mapping) for row in connection.execute(select(schema.quotas)))


def check_waiting(tx: Tx, owner: str, more: int, limit: int | None) -> None:
    """Raise QueueFullError where an owner would have more waiting jobs than its quota, or else `limit`, allows."""
    room = room_for(tx, owner, limit)
    if room.jobs is not None and room.jobs < more:
        raise room.error()


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


def room_for(tx: Tx, owner: str, limit: int | None) -> Room:
    """The room that an owner's quota, or else `limit`, leaves."""
    for (own,) in direct.select(tx.connection, _LIMIT, who=owner):
        limit = own if own is not None else limit
    if limit is None:
        return Room(owner)
    if tx.connection.dialect.name != "sqlite":
        tx.execute(_ALONE, {"who": owner})
    [(waiting,)] = direct.select(tx.connection, _COUNT, who=owner, most=limit)
    return Room(owner, limit - waiting, limit)


def _set(tx: Tx, quota: Quota) -> None:
    values = {"max_running": quota.max_running, "max_waiting": quota.max_waiting, "weight": quota.weight}
    tx.execute(upsert(tx, schema.quotas, {"owner": quota.owner, **values}, ["owner"], values))
    tx.wakes.add(hub.PLACE)
