"""Reading jobs: pages of a list, outputs, and what explains where a job is."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from comfyops.errors import UsageError
from comfyops.jobs import quotas, rows, schema
from comfyops.jobs.fleet import Fleet
from comfyops.jobs.job import (
    Attempt,
    Explanation,
    Filter,
    Job,
    JobEvent,
    JobOutput,
    JobState,
    Page,
    Placed,
    Progress,
)
from comfyops.jobs.needs import Needs
from comfyops.jobs.offers import nobody
from comfyops.jobs.rows import read_job

_j = schema.jobs.c
MAX_PAGE = 1000


def read_page(connection: Connection, which: Filter, cursor: str | None) -> Page:
    """One page of a list. Raises UsageError for a cursor that is none."""
    limit = max(1, min(which.limit, MAX_PAGE))
    listed = rows.whole() if which.with_graphs else rows.listed()
    statement = listed.where(*_conditions(which)).limit(limit + 1).offset(which.offset)
    number: ColumnElement[int] = _j.number
    if which.states and not any(state.over for state in which.states):
        number = number + 0  # they are few: they are to be found by their state, not by going through all numbers
    order = number.asc() if which.oldest_first else number.desc()
    if cursor is not None:
        after = _number(cursor)
        statement = statement.where(_j.number > after if which.oldest_first else _j.number < after)
    found = [rows.job(row) for row in connection.execute(statement.order_by(order))]
    more = len(found) > limit
    return Page(tuple(found[:limit]), _cursor(found[limit - 1].number) if more else None)


def _conditions(which: Filter) -> list[Any]:
    wanted = ("owner", "batch", "backend", "name", "client_id")
    equal = {name: getattr(which, name) for name in wanted}
    conditions = [_j[name] == value for name, value in equal.items() if value is not None]
    if which.states:
        conditions.append(schema.is_one_of(which.states))
    if which.ids:
        conditions.append(_j.id.in_(which.ids))
    conditions += [_j.tags.contains(rows.dump(tag), autoescape=True) for tag in which.tags]
    return conditions


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(f"n{number}".encode()).decode().rstrip("=")


def _number(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        number = int(text.removeprefix("n"))
    except (ValueError, binascii.Error):
        number = -1
    if not 0 <= number < 2**62 or _cursor(number) != cursor:
        raise UsageError("The cursor is none that a list of jobs gave.", hint="Leave it out for the first page.")
    return number


@dataclass(frozen=True, slots=True)
class InQueue:
    """Ids of the jobs that run, by their numbers, and of those that wait, in the order in which they are to run."""

    running: tuple[str, ...]
    waiting: tuple[str, ...]


def read_queue(connection: Connection, owner: str | None, limit: int) -> InQueue:
    """What runs and waits, at most `limit` of each."""
    mine = () if owner is None else (_j.owner == owner,)
    running = select(_j.id).where(schema.IS_ACTIVE, *mine).order_by(_j.number + 0).limit(limit)
    waiting = select(_j.id).where(schema.IS_WAITING, *mine).order_by(_j.priority, _j.number).limit(limit)
    return InQueue(tuple(connection.execute(running).scalars()), tuple(connection.execute(waiting).scalars()))


def read_under_way(connection: Connection, owner: str | None) -> int:
    """How many jobs wait or run."""
    mine = () if owner is None else (_j.owner == owner,)
    counted = (select(func.count()).where(which, *mine) for which in (schema.IS_WAITING, schema.IS_ACTIVE))
    return sum(connection.execute(statement).scalar_one() for statement in counted)


@dataclass(frozen=True, slots=True)
class Sent:
    """A job, and the client of its owner that sent it."""

    id: str
    number: int
    owner: str
    client: str
    state: JobState


def read_sent(connection: Connection, owner: str | None, client: str | None, since: int) -> tuple[int, list[Sent]]:
    """The newest number, and the jobs of clients that wait, run, or are newer than number `since`, by owner, client and
    number; None = of all."""
    newest = newest_number(connection)  # first: what comes meanwhile is newer than that
    mine = [_j.client_id != "" if client is None else _j.client_id == client]
    mine += [] if owner is None else [_j.owner == owner]
    columns = select(_j.id, _j.number, _j.owner, _j.client_id, _j.state)
    found: dict[str, Sent] = {}
    for which in (schema.IS_WAITING, schema.IS_ACTIVE, _j.number > since):  # each has an index; all in one have none
        for row in connection.execute(columns.where(which, *mine)):
            found[row.id] = Sent(row.id, row.number, row.owner, row.client_id, JobState(row.state))
    return newest, sorted(found.values(), key=lambda job: (job.owner, job.client, job.number))


def newest_number(connection: Connection) -> int:
    """The number of the newest job, 0 where there is none."""
    return int(connection.execute(select(func.max(_j.number))).scalar() or 0)


def read_whole(connection: Connection, ids: Sequence[str]) -> list[Job]:
    """These jobs with their graphs, as far as they are there."""
    return [rows.job(row) for row in connection.execute(rows.whole().where(_j.id.in_(ids)))]


def read_events(connection: Connection, job: str, after: int) -> list[JobEvent]:
    """The durable events of a job after a number."""
    e = schema.events.c
    statement = select(schema.events).where(e.job == job, e.seq > after).order_by(e.seq)
    return [rows.event(row) for row in connection.execute(statement)]


def read_standing(connection: Connection, job: str) -> tuple[bool, Progress | None]:
    """Whether a job is over, and how far it is."""
    row = connection.execute(select(_j.state, _j.progress).where(_j.id == job)).one()
    return JobState(row.state).over, Progress(**json.loads(row.progress)) if row.progress else None


def read_outputs(connection: Connection, job: str) -> tuple[JobOutput, ...]:
    """The outputs of a job, in order."""
    return tuple(rows.output(row) for row in connection.execute(_outputs().where(schema.outputs.c.job == job)))


def read_outputs_of(connection: Connection, jobs: Sequence[str]) -> dict[str, tuple[JobOutput, ...]]:
    """The outputs of several jobs."""
    found: dict[str, list[JobOutput]] = {job: [] for job in jobs}
    for row in connection.execute(_outputs().where(schema.outputs.c.job.in_(jobs))):
        found[row.job].append(rows.output(row))
    return {job: tuple(outputs) for job, outputs in found.items()}


def _outputs() -> Any:
    o, a = schema.outputs.c, schema.assets.c
    columns: list[Any] = [*o, a.sha256]
    return select(*columns).outerjoin(schema.assets, a.hash == o.hash).order_by(o.job, o.index)


def read_attempts(connection: Connection, job: str) -> tuple[Attempt, ...]:
    """The runs of a job, first to last."""
    a = schema.attempts.c
    return tuple(
        rows.attempt(row) for row in connection.execute(select(schema.attempts).where(a.job == job).order_by(a.number))
    )


def read_explanation(connection: Connection, job_id: str, owner: str | None, fleet: Fleet, now: float) -> Explanation:
    """Why a job is where it is. Raises UnknownJobError."""
    job = read_job(connection, job_id, owner)
    p, d = schema.placements.c, schema.dependencies.c
    placements = connection.execute(select(p.job, p.at, p.backend, p.reason).where(p.job == job.id).order_by(p.id))
    waits = connection.execute(select(d.needs).where(d.job == job.id, d.settled == 0).order_by(d.needs)).scalars()
    placed = tuple(Placed(**row._mapping) for row in placements)
    waits_for = tuple(waits) if job.state is JobState.WAITING else ()
    place = read_place(connection, job) if job.state is JobState.WAITING else None
    attempts = read_attempts(connection, job.id)
    reason = _reason(connection, job, waits_for, placed, fleet, now)
    return Explanation(job, attempts, placed, waits_for, place, reason)


def read_place(connection: Connection, job: Job) -> int:
    """How many waiting jobs go before this one."""
    before = or_(_j.priority < job.priority, and_(_j.priority == job.priority, _j.number < job.number))
    statement = select(func.count()).where(schema.IS_WAITING, before)
    return int(connection.execute(statement).scalar_one())


def _reason(
    connection: Connection, job: Job, waits_for: tuple[str, ...], placed: tuple[Placed, ...], fleet: Fleet, now: float
) -> str:
    if job.state is not JobState.WAITING:
        if job.error is not None:
            return job.error.message
        return f"It is at {job.backend}." if job.backend else f"It is {job.state.value}."
    if waits_for:
        return f"It waits for {len(waits_for)} other job{'s' if len(waits_for) > 1 else ''}."
    if job.not_before > now:
        return f"It waits for its time, in {job.not_before - now:.0f} s."
    if is_paused(connection):
        return "The queue is paused."
    return _why_unplaced(connection, job, placed, fleet)


def _why_unplaced(connection: Connection, job: Job, placed: tuple[Placed, ...], fleet: Fleet) -> str:
    reasons = nobody(read_needs(connection, job.needs_key), fleet.read_offers(connection))
    if reasons:
        return f"No backend can run it now: {'; '.join(reasons)}."
    quota = next((item for item in quotas.read_all(connection) if item.owner == job.owner), None)
    if quota is not None and quota.max_running is not None:
        running = select(func.count()).where(_j.owner == job.owner, schema.IS_ACTIVE)
        if connection.execute(running).scalar_one() >= quota.max_running:
            return f"{job.owner} has all {quota.max_running} jobs at work that its quota allows."
    if placed and job.error is not None:
        return f"It is tried again: {job.error.message}"
    return "It waits for a free backend that can run it."


def read_needs(connection: Connection, key: str) -> Needs:
    """The needs of this key, which a job names."""
    text = connection.execute(select(schema.needs.c.document).where(schema.needs.c.key == key)).scalar_one()
    return Needs.from_dict(json.loads(text))


def is_paused(connection: Connection) -> bool:
    """Whether the queue begins no jobs."""
    s = schema.settings.c
    return connection.execute(select(s.value).where(s.name == "paused")).scalar() == "yes"
