"""The one place where a job changes its state. Each change is a compare-and-set that leaves an event behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from comfyops.jobs import hub, schema, webhooks
from comfyops.jobs.job import NOTHING, OVER, TRANSITIONS, JobError, JobEvent, JobState
from comfyops.jobs.rows import dump
from comfyops.jobs.store import Tx

_j = schema.jobs.c
_FREE = {"backend": None, "runner": None}


_ADD_EVENT = insert(schema.events)


def move(
    tx: Tx,
    job: str,
    to: JobState,
    *where: ColumnElement[bool],
    error: JobError | None = None,
    data: Mapping[str, Any] = NOTHING,
    before: Sequence[JobEvent] = (),
    **values: Any,
) -> Row[Any] | None:
    """Bring a job into a state that may follow its own, where all of `where` holds; None where that is not so.

    `values` are further columns to set, `data` goes with the event, `before` are events that happened before it (see
    `tell`). Gives the row after the change.
    """
    sources = [state for state, following in TRANSITIONS.items() if to in following]
    if to in OVER:
        values = {**_FREE, "finished_at": tx.now, **values}
    elif to is JobState.WAITING:
        values = {**_FREE, "finished_at": None, "prompt_id": None, "progress": None, **values}
    values["error"] = dump(error.as_dict()) if error else None
    statement = (
        update(schema.jobs)
        .where(_j.id == job, _j.state.in_(sources), *where)
        .values(state=to, last_seq=_j.last_seq + _lasting(before) + 1, **values)
        .returning(*schema.jobs.c)
    )
    row: Row[Any] | None = tx.execute(statement).one_or_none()
    if row is None:
        return None
    told = {"state": to.value, "attempt": row.attempt, **({"backend": row.backend} if row.backend else {}), **data}
    if error is not None:
        told["error"] = error.as_dict()
    _record(tx, row.last_seq, [*before, JobEvent(job, 1, "state", tx.now, told)])
    _follow(tx, row, to)
    return row


def tell(tx: Tx, job: str, told: Sequence[JobEvent], *where: ColumnElement[bool]) -> bool:
    """Add events to a job, in their order; False where `where` does not hold for it.

    Those with a number other than 0 are written, and get the next numbers.
    """
    count = _lasting(told)
    statement = update(schema.jobs).where(_j.id == job, *where).values(last_seq=_j.last_seq + count)
    last = tx.execute(statement.returning(_j.last_seq)).scalar_one_or_none()
    if last is not None:
        _record(tx, last, told)
    return last is not None


def begin(tx: Tx, job: str, data: Mapping[str, Any]) -> None:
    """The first event of a job that was just inserted with `last_seq` 1."""
    _record(tx, 1, [JobEvent(job, 1, "state", tx.now, {"state": JobState.WAITING.value, "attempt": 0, **data})])
    tx.wakes.add(hub.PLACE)


def _lasting(told: Sequence[JobEvent]) -> int:
    return sum(event.seq != 0 for event in told)


def _record(tx: Tx, last: int, told: Sequence[JobEvent]) -> None:
    """Write the events that are to last, the last of them with the number `last`, and tell all."""
    numbers = iter(range(last - _lasting(told) + 1, last + 1))
    events = [replace(event, seq=next(numbers), at=tx.now) if event.seq else event for event in told]
    rows = [
        {"job": event.job, "seq": event.seq, "type": event.type, "data": dump(dict(event.data)), "at": event.at}
        for event in events
        if event.seq
    ]
    tx.execute(_ADD_EVENT, rows if len(rows) > 1 else rows[0])
    tx.events.extend(events)


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
