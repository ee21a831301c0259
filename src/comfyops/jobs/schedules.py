"""Jobs at set times: a cron line, and what to submit then. Each time submits once, for any number of dispatchers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter  # type: ignore[import-untyped]
from sqlalchemy import Connection, Row, delete, insert, select, update

from comfyops.errors import ComfyOpsError, QueueError, ScheduleError
from comfyops.jobs import accepting, rows, schema, submitting
from comfyops.jobs.accepting import New
from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue
from comfyops.jobs.tx import Tx

LATE = 60.0
"""Seconds after its time, from which on a schedule with the rule "skip" leaves a time out."""

_s = schema.schedules.c


@dataclass(frozen=True, slots=True)
class Schedule:
    """When and what. `cron` is minute hour day month weekday, in `timezone`.

    `misfire` says what happens to times at which nothing could submit: "once" = one job for all of them, "skip" = none.
    """

    name: str
    owner: str
    cron: str
    submission: Submission
    timezone: str = "UTC"
    misfire: str = "once"
    next_at: float = 0.0
    last_at: float | None = None
    last_job: str | None = None
    paused: bool = False


class Schedules:
    """The schedules of a queue."""

    def __init__(self, queue: Queue) -> None:
        self._store = queue.store

    async def add(self, schedule: Schedule) -> Schedule:
        """Add a schedule; of a name that its owner has already, change it.

        Raises ScheduleError, WorkflowFormatError, UsageError.
        """
        await asyncio.to_thread(submitting.prepare, schedule.submission)
        _check(schedule)
        return await self._store.write(lambda tx: _add(tx, schedule))

    async def ls(self, owner: str | None = None) -> tuple[Schedule, ...]:
        """Every schedule, by name."""
        return await self._store.read(lambda connection: _read_all(connection, owner))

    async def pause(self, name: str, paused: bool = True, owner: str | None = None) -> None:
        """Leave a schedule's times out, or no longer. Raises ScheduleError."""
        await self._change(name, owner, lambda which: update(schema.schedules).where(*which).values(paused=int(paused)))

    async def remove(self, name: str, owner: str | None = None) -> None:
        """Forget a schedule; its jobs stay. Raises ScheduleError."""
        await self._change(name, owner, lambda which: delete(schema.schedules).where(*which))

    async def _change(self, name: str, owner: str | None, statement: Any) -> None:
        which = [_s.name == name] + ([_s.owner == owner] if owner is not None else [])

        def write(tx: Tx) -> None:
            if not tx.execute(statement(which)).rowcount:
                hint = "List them with `comfyops schedules ls`."
                raise ScheduleError(f"There is no schedule {name[:80]!r}.", hint=hint)

        await self._store.write(write)


def next_time(cron: str, timezone: str, after: float) -> float:
    """The first time after a time, both in seconds since the epoch. Raises ScheduleError."""
    try:
        zone = ZoneInfo(timezone)
        return float(croniter(cron, datetime.fromtimestamp(after, zone)).get_next(float))
    except (ZoneInfoNotFoundError, IsADirectoryError) as error:
        raise ScheduleError(f"{timezone[:80]!r} is no time zone.", hint="Write it as Europe/Paris.") from error
    except (ValueError, KeyError, OverflowError) as error:
        raise ScheduleError(f"{cron[:80]!r} is no schedule: {str(error)[:120].rstrip('.')}.") from error


def _check(schedule: Schedule) -> None:
    if schedule.misfire not in ("once", "skip"):
        raise ScheduleError(f"The rule for missed times is 'once' or 'skip', not {schedule.misfire[:40]!r}.")
    if len(schedule.cron.split()) != 5:
        raise ScheduleError(f"{schedule.cron[:80]!r} is no schedule: it has not five parts.")
    if not schedule.name or len(schedule.name) > 200:
        raise ScheduleError("A schedule needs a name of at most 200 characters.")


def _add(tx: Tx, schedule: Schedule) -> Schedule:
    row = tx.execute(select(_s.owner).where(_s.name == schedule.name)).one_or_none()
    if row is not None and row.owner != schedule.owner:
        raise ScheduleError(f"The name {schedule.name!r} belongs to another owner's schedule.")
    document = {item.name: getattr(schedule.submission, item.name) for item in fields(Submission)}
    document["extra_data"] = dict(schedule.submission.extra_data)
    values = {
        "owner": schedule.owner,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "misfire": schedule.misfire,
        "submission": rows.dump(document),
        "next_at": next_time(schedule.cron, schedule.timezone, tx.now),
        "paused": int(schedule.paused),
    }
    if row is None:
        tx.execute(insert(schema.schedules).values(name=schedule.name, **values))
    else:
        tx.execute(update(schema.schedules).where(_s.name == schedule.name).values(**values))
    return _schedule(tx.execute(select(schema.schedules).where(_s.name == schedule.name)).one())


def _read_all(connection: Connection, owner: str | None) -> tuple[Schedule, ...]:
    statement = select(schema.schedules).order_by(_s.name)
    if owner is not None:
        statement = statement.where(_s.owner == owner)
    return tuple(_schedule(row) for row in connection.execute(statement))


def _schedule(row: Row[Any]) -> Schedule:
    values = dict(row._mapping)
    document = json.loads(values.pop("submission"))
    known = {item.name for item in fields(Submission)}
    lists = {name: tuple(value) for name, value in document.items() if isinstance(value, list)}
    submission = Submission(**{name: value for name, value in {**document, **lists}.items() if name in known})
    return Schedule(**{**values, "paused": bool(values["paused"])}, submission=submission)


async def submit_due(queue: Queue) -> float:
    """Submit what is due; gives the seconds until the next time, 30 where there is none."""
    now = queue.store.clock()
    for schedule in await queue.store.read(lambda connection: _read_all(connection, None)):
        if not schedule.paused and schedule.next_at <= now:
            await _submit(queue, schedule)
    times = [item.next_at for item in await queue.store.read(lambda connection: _read_all(connection, None))]
    return max(0.2, min([at - queue.store.clock() for at in times if at > now], default=30.0))


async def _submit(queue: Queue, schedule: Schedule) -> None:
    try:
        prepared = await asyncio.to_thread(submitting.prepare, schedule.submission)
    except ComfyOpsError:
        prepared = None  # what it was made with has changed: its times pass
    await queue.store.write(lambda tx: _pass(tx, schedule, prepared))


def _pass(tx: Tx, schedule: Schedule, prepared: submitting.Prepared | None) -> None:
    """Go on to the next time, with a job for this one where the rules want it."""
    following = next_time(schedule.cron, schedule.timezone, tx.now)
    due = update(schema.schedules).where(_s.name == schedule.name, _s.next_at == schedule.next_at)
    if not tx.execute(due.values(next_at=following, last_at=tx.now)).rowcount:
        return  # another dispatcher was faster
    if prepared is None or (schedule.misfire == "skip" and tx.now - schedule.next_at > LATE):
        return
    job = str(uuid5(NAMESPACE_URL, f"comfyops:{schedule.owner}:{schedule.name}:{schedule.next_at}"))
    try:
        with tx.connection.begin_nested():
            accepting.add(tx, [New(prepared, schedule.owner, job, schedule=schedule.name)])
    except QueueError:
        return
    tx.execute(update(schema.schedules).where(_s.name == schedule.name).values(last_job=job))
