"""The one place where a job changes its state. Each change is a compare-and-set that leaves an event behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from comfyops.jobs import hub, schema, webhooks
from comfyops.jobs.job import NOTHING, OVER, TRANSITIONS, JobError, JobEvent, JobState
from comfyops.jobs.rows import dump
from comfyops.jobs.store import Tx

_j = schema.jobs.c
_FREE = {"backend": None, "runner": None}


def move(
    tx: Tx,
    job: str,
    to: JobState,
    *where: ColumnElement[bool],
    error: JobError | None = None,
    data: Mapping[str, Any] = NOTHING,
    **values: Any,
) -> Row[Any] | None:
    """Bring a job into a state that may follow its own, where all of `where` holds; None where that is not so.

    `values` are further columns to set, `data` goes with the event. Gives the row after the change.
    """
    before = [state for state, following in TRANSITIONS.items() if to in following]
    if to in OVER:
        values = {**_FREE, "finished_at": tx.now, **values}
    elif to is JobState.WAITING:
        values = {**_FREE, "finished_at": None, "prompt_id": None, "progress": None, **values}
    statement = (
        update(schema.jobs)
        .where(_j.id == job, _j.state.in_(before), *where)
        .values(state=to, last_seq=_j.last_seq + 1, error=dump(error.as_dict()) if error else None, **values)
        .returning(*schema.jobs.c)
    )
    row: Row[Any] | None = tx.execute(statement).one_or_none()
    if row is None:
        return None
    told = {"state": to.value, "attempt": row.attempt, **({"backend": row.backend} if row.backend else {}), **data}
    if error is not None:
        told["error"] = error.as_dict()
    _record(tx, job, row.last_seq, "state", told)
    _follow(tx, row, to)
    return row


def tell(tx: Tx, job: str, kind: str, data: Mapping[str, Any], *where: ColumnElement[bool]) -> bool:
    """Add a durable event to a job; False where `where` does not hold for it."""
    statement = update(schema.jobs).where(_j.id == job, *where).values(last_seq=_j.last_seq + 1)
    seq = tx.execute(statement.returning(_j.last_seq)).scalar_one_or_none()
    if seq is not None:
        _record(tx, job, seq, kind, data)
    return seq is not None


def begin(tx: Tx, job: str, data: Mapping[str, Any]) -> None:
    """The first event of a job that was just inserted with `last_seq` 1."""
    _record(tx, job, 1, "state", {"state": JobState.WAITING.value, "attempt": 0, **data})
    tx.wakes.add(hub.PLACE)


def _record(tx: Tx, job: str, seq: int, kind: str, data: Mapping[str, Any]) -> None:
    tx.execute(insert(schema.events).values(job=job, seq=seq, type=kind, data=dump(dict(data)), at=tx.now))
    tx.events.append(JobEvent(job, seq, kind, tx.now, dict(data)))


def _follow(tx: Tx, row: Row[Any], to: JobState) -> None:
    if to is JobState.WAITING or to in OVER:
        tx.wakes.add(hub.PLACE)
    if to in OVER:
        _settle_dependents(tx, row, to)
        if row.webhook_url:
            webhooks.note(tx, row)


def _settle_dependents(tx: Tx, row: Row[Any], to: JobState) -> None:
    """Let those that wait for this job go on, or fail with it."""
    d = schema.dependencies.c
    waiting = tx.execute(select(d.job).where(d.needs == row.id, d.settled == 0)).scalars().all()
    if not waiting:
        return
    if to is JobState.DONE:
        tx.execute(update(schema.dependencies).where(d.needs == row.id, d.settled == 0).values(settled=1))
        tx.execute(update(schema.jobs).where(_j.id.in_(waiting)).values(blockers=_j.blockers - 1))
        return
    error = JobError("dependency", f"The job {row.id} that it waits for is {to.value}.", details={"job": row.id})
    for job in waiting:
        move(tx, job, JobState.FAILED, _j.state == JobState.WAITING, error=error)


def counts(connection: Any, owner: str | None = None) -> dict[str, int]:
    """How many jobs are in each state."""
    statement = select(_j.state, func.count()).group_by(_j.state)
    if owner is not None:
        statement = statement.where(_j.owner == owner)
    found = dict(connection.execute(statement).all())
    return {state.value: found.get(state.value, 0) for state in JobState}
