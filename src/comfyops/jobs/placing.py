"""Reading what placement decides on, and carrying its decisions out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, func, select

from comfyops.jobs import quotas, reading, schema, steps
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.job import Job
from comfyops.jobs.needs import Needs
from comfyops.jobs.offers import Fits, Offer
from comfyops.jobs.placement import place
from comfyops.jobs.situation import Busy, Decision, Group, Owner, Rules, Situation, Standing
from comfyops.jobs.store import Store
from comfyops.jobs.turns import Turns
from comfyops.jobs.tx import Tx

_j, _b, _n, _t = schema.jobs.c, schema.backends.c, schema.needs.c, schema.timings.c

_GUESS_RUN, _GUESS_LOAD = 10.0, 20.0  # seconds, for jobs of which nothing is known

_REMEMBERED = 10_000  # lines of jobs; whoever submits may begin a new one with each job, by its priority


class Placer:
    """Places jobs onto the backends that one dispatcher leases."""

    def __init__(self, store: Store, fleet: Fleet, name: str, rules: Rules) -> None:
        self._store = store
        self._fleet = fleet
        self._name = name
        self._rules = rules
        self._fits = Fits()
        self._turns = Turns()
        self._needs: dict[str, Needs] = {}
        self._served: dict[tuple[str, int, str], float] = {}
        self.full = False
        """Whether every backend had a job, or took none, at the last look: new jobs change nothing then."""

    async def round(self) -> list[Job]:
        """Decide and bind once; the jobs that were bound. Empty = there is nothing to place now."""
        situation = await self._store.read(self._situation)
        if situation is None:
            return []
        placement = place(situation, self._fits)
        if not placement.decisions:
            return []
        bound = await self._store.write(lambda tx: self._bind_all(tx, placement.decisions, situation))
        for decision, job in zip(placement.decisions, bound, strict=True):
            if job is not None:
                self._charge(decision, situation)
        return [job for job in bound if job is not None]

    def _bind_all(self, tx: Tx, decisions: Sequence[Decision], situation: Situation) -> list[Job | None]:
        """Bind what was decided. A job that ended badly at its backend takes one that is left, if that can run it."""
        bound = [self._bind(tx, item.group, item.backend, item.reason) for item in decisions]
        taken = {decision.backend for decision, job in zip(decisions, bound, strict=True) if job is not None}
        left = [item for item in situation.backends if item.open and item.busy is None and item.backend not in taken]
        for index, decision in enumerate(decisions):
            if bound[index] is None:
                bound[index] = self._bind_elsewhere(tx, decision, left)
        return bound

    def _bind_elsewhere(self, tx: Tx, decision: Decision, left: list[Standing]) -> Job | None:
        for standing in left:
            fits = self._fits(decision.group.needs, standing.offer, standing.backend)
            if fits and standing.backend != decision.backend:
                job = self._bind(tx, decision.group, standing.backend, f"it ended badly at {decision.backend}")
                if job is not None:
                    left.remove(standing)
                    return job
        return None

    def _bind(self, tx: Tx, group: Group, backend: str, reason: str) -> Job | None:
        head = {"owner": group.owner, "priority": group.priority, "needs_key": group.needs.key}
        return steps.bind(tx, head, backend, self._name, reason)

    def _charge(self, decision: Decision, situation: Situation) -> None:
        group = decision.group
        self._remember((group.owner, group.priority, group.needs.key), situation.now)
        weight = situation.owners.get(group.owner, Owner()).weight
        self._turns.charge(group.owner, group.run, weight)

    def _remember(self, line: tuple[str, int, str], now: float) -> None:
        """Note when a line of jobs was served, and forget the one that was served the longest ago."""
        self._served.pop(line, None)
        self._served[line] = now
        if len(self._served) > _REMEMBERED:
            del self._served[next(iter(self._served))]

    def _situation(self, connection: Connection) -> Situation | None:
        standings = self._standings(connection)
        self.full = not any(standing.open and standing.busy is None for standing in standings)
        if self.full:
            return None
        if reading.is_paused(connection):
            return None
        now = self._store.clock()
        groups = self._groups(connection, now)
        if not groups:
            return None
        return Situation(groups, standings, now, self._owners(connection, groups), self._rules)

    def _groups(self, connection: Connection, now: float) -> list[Group]:
        keys = (_j.owner, _j.priority, _j.needs_key)
        ready = (schema.IS_WAITING, _j.blockers == 0, steps.is_due(now))
        since = case((_j.not_before > _j.created_at, _j.not_before), else_=_j.created_at)
        oldest = func.min(since).label("oldest")
        statement = select(*keys, func.count().label("count"), oldest).where(*ready).group_by(*keys)
        rows = connection.execute(statement).all()
        self._read_needs(connection, {row.needs_key for row in rows})
        times = (
            {row.needs_key: row for row in connection.execute(select(_t.needs_key, _t.warm, _t.cold))} if rows else {}
        )
        return [self._group(row, times.get(row.needs_key)) for row in rows]

    def _group(self, row: Any, times: Any) -> Group:
        warm = times.warm if times and times.warm else 0.0
        cold = times.cold if times and times.cold else 0.0
        run = warm or cold or _GUESS_RUN
        load = max(0.0, cold - warm) if warm and cold else _GUESS_LOAD
        served = self._served.get((row.owner, row.priority, row.needs_key), 0.0)
        return Group(row.owner, row.priority, self._needs[row.needs_key], row.count, row.oldest, run, load, served)

    def _read_needs(self, connection: Connection, keys: set[str]) -> None:
        missing = keys - self._needs.keys()
        if missing:
            if len(self._needs) > _REMEMBERED:
                self._needs.clear()
                missing = keys
            found = connection.execute(select(_n.key, _n.document).where(_n.key.in_(missing)))
            self._needs.update({row.key: Needs.from_dict(json.loads(row.document)) for row in found})

    def _standings(self, connection: Connection) -> list[Standing]:
        columns = (_b.id, _b.state, _b.loaded, _b.loaded_since)
        rows = connection.execute(select(*columns).where(_b.dispatcher == self._name).order_by(_b.id)).all()
        if not rows:
            return []
        offers = self._fleet.read_offers(connection)
        running = self._at_work(connection, [row.id for row in rows])
        return [_standing(row, offers[row.id], running.get(row.id)) for row in rows if row.id in offers]

    def _at_work(self, connection: Connection, names: Sequence[str]) -> dict[str, Any]:
        """The job of each backend that has one: whose it is, since when, its models and what is known of its times."""
        columns = (_j.backend, _j.owner, _j.bound_at, _n.model_set, _t.warm, _t.cold)
        whole = schema.jobs.join(schema.needs, _n.key == _j.needs_key)
        whole = whole.outerjoin(schema.timings, _t.needs_key == _j.needs_key)
        statement = select(*columns).select_from(whole).where(schema.IS_ACTIVE, _j.backend.in_(names))
        return {row.backend: row for row in connection.execute(statement)}

    def _owners(self, connection: Connection, groups: Sequence[Group]) -> dict[str, Owner]:
        running = select(_j.owner, func.count()).where(schema.IS_ACTIVE).group_by(_j.owner)
        counts: dict[str, int] = dict(connection.execute(running).all())
        limits = {quota.owner: quota for quota in quotas.read_all(connection)}
        names = {group.owner for group in groups}
        turns = self._turns.of(names | counts.keys())
        return {name: _owner(limits.get(name), counts.get(name, 0), turns.get(name, 0.0)) for name in names}


def _standing(row: Any, offer: Offer, running: Any) -> Standing:
    """A backend as it stands; one at work has, or is loading, the models of its job."""
    is_open = row.state == "up"
    if running is None:
        return Standing(row.id, offer, row.loaded, row.loaded_since, None, is_open)
    began, models = running.bound_at or 0.0, running.model_set or row.loaded
    if models == row.loaded:
        busy = Busy(running.owner, began, running.warm or running.cold or _GUESS_RUN)
        return Standing(row.id, offer, models, row.loaded_since, busy, is_open)
    seconds = running.cold or (running.warm or _GUESS_RUN) + _GUESS_LOAD
    return Standing(row.id, offer, models, began, Busy(running.owner, began, seconds), is_open)


def _owner(quota: quotas.Quota | None, running: int, turn: float) -> Owner:
    if quota is None:
        return Owner(running, turn=turn)
    return Owner(running, quota.weight, quota.max_running, turn)
