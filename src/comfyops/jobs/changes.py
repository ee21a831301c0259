"""What people change about jobs: cancel, retry, priority, forgetting; pausing the queue."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, delete, select, update

from comfyops.errors import DependencyError, JobStateError, UsageError
from comfyops.jobs import accepting, hub, rows, schema, submitting, transitions
from comfyops.jobs.job import OVER, Job, JobState
from comfyops.jobs.tx import Tx, upsert

_j = schema.jobs.c


def cancel(tx: Tx, job: str, owner: str | None) -> Job:
    """Cancel a waiting job; have whoever runs an active one stop it. Raises UnknownJobError."""
    rows.check_owner(tx.connection, job, owner)
    if transitions.move(tx, job, JobState.CANCELLED, schema.IS_WAITING) is None:
        asked = update(schema.jobs).where(_j.id == job, _j.state.notin_(OVER), _j.cancel_requested.is_(None))
        tx.execute(asked.values(cancel_requested=tx.now))
        tx.wakes.add(hub.CANCEL)
    return rows.read_job(tx.connection, job)


def cancel_waiting(tx: Tx, owner: str | None, newest: int, most: int) -> int:
    """Cancel at most so many of the waiting jobs up to a number; how many."""
    wanted = _up_to(owner, newest).where(schema.IS_WAITING).limit(most)
    jobs = list(tx.execute(wanted).scalars())
    for job in jobs:
        transitions.move(tx, job, JobState.CANCELLED, schema.IS_WAITING)
    return len(jobs)


def forget_over(tx: Tx, owner: str | None, newest: int, most: int) -> int:
    """Delete at most so many of the jobs that are over, up to a number; how many."""
    wanted = _up_to(owner, newest).where(_j.state.in_(OVER)).limit(most)
    return int(tx.execute(delete(schema.jobs).where(_j.id.in_(wanted), _j.state.in_(OVER))).rowcount)


def _up_to(owner: str | None, newest: int) -> Select[Any]:
    wanted: Select[Any] = select(_j.id).where(_j.number <= newest).order_by(_j.number)
    return wanted if owner is None else wanted.where(_j.owner == owner)


def retry(tx: Tx, job: str, owner: str | None) -> Job:
    """Have a job that is over without success run again. Raises UnknownJobError, JobStateError, DependencyError."""
    found = rows.read_job(tx.connection, job, owner)
    if not found.state.over or found.state is JobState.DONE:
        raise JobStateError(f"The job {job} is {found.state.value}: there is nothing to try again.", **_facts(found))
    d = schema.dependencies.c
    open_ = tx.execute(schema.dependencies.select().where(d.job == job, d.settled == 0)).all()
    if any(accepting.unsettled(tx, [row.needs], found.owner)[row.needs] for row in open_):
        raise DependencyError(f"A job that {job} waits for is not done.", hint="Retry that one first.", job=job)
    tx.execute(update(schema.dependencies).where(d.job == job).values(settled=1))
    transitions.move(
        tx,
        job,
        JobState.WAITING,
        _j.state.in_(OVER),
        cancel_requested=None,
        failures=0,
        avoid="",
        not_before=0.0,
        blockers=0,
        deadline=None,
    )
    return rows.read_job(tx.connection, job)


def set_priority(tx: Tx, job: str, priority: int, owner: str | None) -> Job:
    """Change the priority of a waiting job. Raises UnknownJobError, JobStateError, UsageError."""
    if abs(priority) > submitting.MAX_PRIORITY:
        raise UsageError(f"The priority {priority} is out of range.")
    found = rows.read_job(tx.connection, job, owner)
    waiting = (_j.id == job, schema.IS_WAITING)
    if not tx.execute(update(schema.jobs).where(*waiting).values(priority=priority)).rowcount:
        raise JobStateError(f"The job {job} is {found.state.value}: it waits for no turn.", **_facts(found))
    tx.wakes.add(hub.PLACE)
    return rows.read_job(tx.connection, job)


def forget(tx: Tx, job: str, owner: str | None) -> None:
    """Delete a job that is over. Its files go with the next sweep. Raises UnknownJobError, JobStateError."""
    found = rows.read_job(tx.connection, job, owner)
    if not found.state.over:
        raise JobStateError(f"The job {job} is {found.state.value}.", hint="Cancel it first.", **_facts(found))
    tx.execute(delete(schema.jobs).where(_j.id == job, _j.state.in_(OVER)))


def set_paused(tx: Tx, paused: bool) -> None:
    """Have the queue begin jobs, or not."""
    value = {"value": "yes" if paused else "no"}
    tx.execute(upsert(tx, schema.settings, {"name": "paused", **value}, ["name"], value))
    tx.wakes.add(hub.PLACE)


def _facts(job: Job) -> dict[str, str]:
    return {"job": job.id, "state": job.state.value}
