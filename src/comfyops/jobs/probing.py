"""Looking at backends: what they offer, whether they answer, and whether one that was put aside may come back."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Finished, Outcome
from comfyops.errors import BackendError, ComfyOpsError
from comfyops.jobs import hub, rows, schema
from comfyops.jobs.clients import Clients
from comfyops.jobs.fleet import BackendRow, BackendState
from comfyops.jobs.offers import Offer, offer_of
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx
from comfyops.workflows.graph import Graph, GraphBuilder
from comfyops.workflows.node_types import NodeTypes

_b = schema.backends.c
_MOST_FAILURES = 8  # after which the pause between canaries grows no more


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Times in seconds: between looks at one that is well, and at one that is down; between readings of what it
    offers; until a quarantined one is tried (doubled after each failure); for the canary to come back; without a job
    until one is asked to unload its models (None = never).
    """

    every: float = 20.0
    every_down: float = 3.0
    offer_every: float = 600.0
    quarantine: float = 30.0
    canary: float = 60.0
    idle: float | None = None


class Prober:
    """Looks at the backends that one dispatcher leases."""

    def __init__(self, store: Store, clients: Clients, name: str, settings: ProbeSettings) -> None:
        self._store = store
        self._clients = clients
        self._name = name
        self._settings = settings
        self._read_at: dict[str, float] = {}
        self._types: dict[str, NodeTypes] = {}
        self._kinds: dict[str, str] = {}
        self._idle_since: dict[str, float] = {}

    def node_types(self) -> NodeTypes | None:
        """The node types of the backend with the most classes, of those looked at here."""
        return max(self._types.values(), key=len, default=None)

    def kinds(self) -> list[NodeTypes]:
        """The node types of the backends looked at here, once for those that offer the same."""
        return list({self._kinds[name]: types for name, types in self._types.items()}.values())

    async def look(self, row: BackendRow) -> None:
        """Look at one backend and write what was found."""
        try:
            client = await self._clients.get(row.id)
            if row.state is BackendState.QUARANTINED:
                await self._try_again(row, client)
            else:
                await self._look(row, client)
        except ComfyOpsError as error:
            self._read_at.pop(row.id, None)
            await self._write_down(row, error)

    async def _look(self, row: BackendRow, client: ComfyUI) -> None:
        stats = await client.system_stats()
        now = self._store.clock()
        stale = row.version != stats.version or now - self._read_at.get(row.id, 0.0) > self._settings.offer_every
        offer = await self._offer(row, client) if stale or row.state is not BackendState.UP else None
        if row.state is not BackendState.UP and row.job is None:
            await self.clear(row.id, client)
        await self._write_up(row, stats.version, offer)
        await self._unload_idle(row, client)

    async def _unload_idle(self, row: BackendRow, client: ComfyUI) -> None:
        """Ask a backend that has had no job for long to unload its models; others may share its device."""
        now, idle = self._store.clock(), self._settings.idle
        if idle is None or row.job is not None or not row.loaded:
            self._idle_since.pop(row.id, None)
            return
        since = self._idle_since.setdefault(row.id, max(now, row.loaded_since))
        if now - since < idle:
            return
        since = max(since, await self._store.read(lambda connection: _last_end(connection, row.id)))
        self._idle_since[row.id] = since
        if now - since >= idle:
            await client.free()
            await self._write(row, {"loaded": "", "loaded_since": 0.0}, _b.loaded == row.loaded)

    async def _offer(self, row: BackendRow, client: ComfyUI) -> Offer:
        types = await client.node_types(refresh=True)
        models = await client.model_files()
        offer = await asyncio.to_thread(offer_of, types, models, await client.system_stats(), row.tags)
        self._types[row.id], self._kinds[row.id] = types, offer.key
        self._read_at[row.id] = self._store.clock()
        return offer

    async def _write_up(self, row: BackendRow, version: str, offer: Offer | None) -> None:
        values: dict[str, Any] = {"last_seen": self._store.clock(), "version": version}
        values["probe_at"] = self._store.clock() + self._settings.every
        if offer is not None:
            values |= {"offer": rows.dump(offer.as_dict()), "offer_key": offer.key}
        back = row.state in (BackendState.NEW, BackendState.DOWN)
        if back:
            values |= {"state": BackendState.UP, "reason": "", "failures": 0, "loaded": "", "loaded_since": 0.0}
        await self._write(row, values, _b.state == row.state, place=back or offer is not None)

    async def _write_down(self, row: BackendRow, error: ComfyOpsError) -> None:
        values: dict[str, Any] = {"probe_at": self._store.clock() + self._settings.every_down}
        if row.state in (BackendState.NEW, BackendState.UP, BackendState.DOWN):
            values |= {"state": BackendState.DOWN, "reason": error.message[:500], "loaded": "", "loaded_since": 0.0}
        elif row.state is BackendState.QUARANTINED:
            wait = self._settings.quarantine * 2 ** min(row.failures, _MOST_FAILURES)
            values |= {"failures": row.failures + 1, "probe_at": self._store.clock() + wait}
        await self._write(row, values, _b.state == row.state)

    async def _write(
        self, row: BackendRow, values: dict[str, Any], *where: ColumnElement[bool], place: bool = False
    ) -> None:
        def write(tx: Tx) -> None:
            mine = update(schema.backends).where(_b.id == row.id, _b.dispatcher == self._name, *where)
            if tx.execute(mine.values(**values)).rowcount and place:
                tx.wakes.add(hub.PLACE)

        await self._store.write(write)

    async def _try_again(self, row: BackendRow, client: ComfyUI) -> None:
        """Have a quarantined backend do a small piece of work; where it does, it may come back."""
        await self.clear(row.id, client)
        await canary(client, self._settings.canary)
        offer = await self._offer(row, client)
        stats = await client.system_stats()
        values = {"state": BackendState.UP, "reason": "", "failures": 0, "version": stats.version}
        values |= {"offer": rows.dump(offer.as_dict()), "offer_key": offer.key, "last_seen": self._store.clock()}
        values["probe_at"] = self._store.clock() + self._settings.every
        await self._write(row, values, _b.state == row.state, place=True)

    async def clear(self, backend: str, client: ComfyUI) -> None:
        """Take runs of ours from a backend's queue that are no longer wanted there."""
        queue = await client.queue()
        if queue:
            ids = [run.run_id for run in queue]
            for run_id in await self._store.read(lambda connection: _unwanted(connection, backend, ids)):
                with contextlib.suppress(BackendError):
                    await client.cancel(run_id)


def _last_end(connection: Connection, backend: str) -> float:
    """When the last run on a backend ended, 0 for never. Jobs may come and go between two looks."""
    a = schema.attempts.c
    return float(connection.execute(select(func.max(a.ended_at)).where(a.backend == backend)).scalar() or 0.0)


def _unwanted(connection: Any, backend: str, ids: list[str]) -> list[str]:
    a, j = schema.attempts.c, schema.jobs.c
    ours = set(connection.execute(select(a.prompt_id).where(a.backend == backend, a.prompt_id.in_(ids))).scalars())
    wanted = select(j.prompt_id).where(j.backend == backend, schema.IS_ACTIVE)
    return sorted(ours - set(connection.execute(wanted).scalars()))


async def canary(client: ComfyUI, seconds: float) -> None:
    """Have a backend make a tiny picture without any model. Raises BackendError where it does not, in time."""
    run_id = ""
    try:
        async with asyncio.timeout(seconds):
            run_id = (await client.submit(_tiny())).run_id
            end = [event async for event in client.watch(run_id)][-1]
    except TimeoutError as error:
        with contextlib.suppress(BackendError, TimeoutError):
            async with asyncio.timeout(5):
                await client.cancel(run_id)
        raise BackendError(f"It did not make a tiny picture in {seconds:g} s.") from error
    if not isinstance(end, Finished) or end.outcome is not Outcome.SUCCESS:
        raise BackendError("It could not make a tiny picture.")


def _tiny() -> Graph:
    builder = GraphBuilder()
    image = builder.add("EmptyImage", width=16, height=16, batch_size=1, color=random.randrange(0xFFFFFF))
    builder.add("PreviewImage", images=image[0])
    return builder.build()
