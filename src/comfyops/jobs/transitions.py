"""The one place where a job changes its state. Each change is a compare-and-set that leaves an event behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from comfyops.jobs import hub, schema, webhooks
from comfyops.jobs.job import NOTHING, OVER, TRANSITIONS, JobError, JobEvent, JobState
from comfyops.jobs.rows import dump
from comfyops.jobs.store import Tx

_j = schema.jobs.c
_FREE = {"backend": None, "runner": None}


_ADD_EVENT = insert(schema.events)

Told = tuple[str, Mapping[str, Any]]
"""Type and data of an event."""


def move(
    tx: Tx,
    job: str,
    to: JobState,
    *where: ColumnElement[bool],
    error: JobError | None = None,
    data: Mapping[str, Any] = NOTHING,
    before: Sequence[Told] = (),
    **values: Any,
) -> Row[Any] | None:
    """Bring a job into a state that may follow its own, where all of `where` holds; None where that is not so.

    `values` are further columns to set, `data` goes with the event, `before` are events that happened before it. Gives
    the row after the change.
    """
    sources = [state for state, following in TRANSITIONS.items() if to in following]
    if to in OVER:
        values = {**_FREE, "finished_at": tx.now, **values}
    elif to is JobState.WAITING:
        values = {**_FREE, "finished_at": None, "prompt_id": None, "progress": None, **values}
    statement = (
        update(schema.jobs)
        .where(_j.id == job, _j.state.in_(sources), *where)
        .values(
            state=to, last_seq=_j.last_seq + len(before) + 1, error=dump(error.as_dict()) if error else None, **values
        )
        .returning(*schema.jobs.c)
    )
    row: Row[Any] | None = tx.execute(statement).one_or_none()
    if row is None:
        return None
    told = {"state": to.value, "attempt": row.attempt, **({"backend": row.backend} if row.backend else {}), **data}
    if error is not None:
        told["error"] = error.as_dict()
    _record_all(tx, job, row.last_seq, [*before, ("state", told)])
    _follow(tx, row, to)
    return row


def tell(tx: Tx, job: str, told: Sequence[Told], *where: ColumnElement[bool]) -> bool:
    """Add durable events to a job, in their order; False where `where` does not hold for it."""
    statement = update(schema.jobs).where(_j.id == job, *where).values(last_seq=_j.last_seq + len(told))
    last = tx.execute(statement.returning(_j.last_seq)).scalar_one_or_none()
    if last is not None:
        _record_all(tx, job, last, told)
    return last is not None


def begin(tx: Tx, job: str, data: Mapping[str, Any]) -> None:
    """The first event of a job that was just inserted with `last_seq` 1."""
    _record(tx, job, 1, "state", {"state": JobState.WAITING.value, "attempt": 0, **data})
    tx.wakes.add(hub.PLACE)


def _record(tx: Tx, job: str, seq: int, kind: str, data: Mapping[str, Any]) -> None:
    _record_all(tx, job, seq, [(kind, data)])


def _record_all(tx: Tx, job: str, last: int, told: Sequence[Told]) -> None:
    """Write events, the last of which has the number `last`."""
    first = last - len(told) + 1
    events = [JobEvent(job, seq, kind, tx.now, dict(data)) for seq, (kind, data) in enumerate(told, first)]
    rows = [{"job": job, "seq": e.seq, "type": e.type, "data": dump(e.data), "at": e.at} for e in events]
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
