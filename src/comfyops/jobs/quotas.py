"""How much each owner may have: jobs that run at once, jobs that wait, and the weight of its turns."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from comfyops.errors import UsageError
from comfyops.jobs import hub, schema
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert


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


def read_all(connection: Connection) -> tuple[Quota, ...]:
    """Every quota that was set."""
    return tuple(Quota(**row._mapping) for row in connection.execute(select(schema.quotas)))


def _set(tx: Tx, quota: Quota) -> None:
    values = {"max_running": quota.max_running, "max_waiting": quota.max_waiting, "weight": quota.weight}
    tx.execute(upsert(tx, schema.quotas, {"owner": quota.owner, **values}, ["owner"], values))
    tx.wakes.add(hub.PLACE)
