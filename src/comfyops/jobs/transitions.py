"""The one place where a job changes its state. Each change is a compare-and-set that leaves an event behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, Update, bindparam, func, insert, select, update

from comfyops.jobs import direct, hub, schema, webhooks
from comfyops.jobs.job import NOTHING, OVER, TRANSITIONS, JobError, JobEvent, JobState
from comfyops.jobs.rows import dump
from comfyops.jobs.tx import Tx

_j = schema.jobs.c
_FREE = {"backend": None, "runner": None}


_ADD_EVENT = insert(schema.events)
_d = schema.dependencies.c
_DEPENDENTS = select(_d.job).where(_d.needs == bindparam("is_needs"), _d.settled == 0)


def move(
    tx: Tx,
    job: str,
    to: JobState,
    *where: ColumnElement[bool],
    held: Mapping[str, Any] = NOTHING,
    error: JobError | None = None,
    data: Mapping[str, Any] = NOTHING,
    before: Sequence[JobEvent] = (),
    **values: Any,
) -> Row[Any] | None:
    """Bring a job into a state that may follow its own, where `where` and the values of `held` hold; None where not.

    `values` are further columns to set, `data` goes with the event, `before` are events that happened before it (see
    `tell`). Gives the row after the change.
    """
    if to in OVER:
        values = {**_FREE, "finished_at": tx.now, **values}
    elif to is JobState.WAITING:
        values = {**_FREE, "finished_at": None, "prompt_id": None, "progress": None, **values}
    values["error"] = dump(error.as_dict()) if error else None
    computed = {name: value for name, value in values.items() if isinstance(value, ColumnElement)}
    plain = {name: value for name, value in values.items() if name not in computed}
    statement = _moving(to, tuple(plain), tuple(held))
    if where or computed:
        statement = statement.where(*where).values(**computed)
    given = {f"is_{name}": value for name, value in {"id": job, **held}.items()}
    given |= {f"new_{name}": value for name, value in plain.items()}
    row: Row[Any] | None = tx.execute(statement, {**given, "more": _lasting(before) + 1}).one_or_none()
    if row is None:
        return None
    told = {"state": to.value, "attempt": row.attempt, **({"backend": row.backend} if row.backend else {}), **data}
    if error is not None:
        told["error"] = error.as_dict()
    _record(tx, row.last_seq, [*before, JobEvent(job, 1, "state", tx.now, told)])
    _follow(tx, row, to)
    return row


@cache
def _moving(to: JobState, names: tuple[str, ...], held: tuple[str, ...]) -> Update:
    """The statement of a move; to make one takes longer than to carry it out."""
    sources = [state for state, following in TRANSITIONS.items() if to in following]
    conditions = [_j[name] == bindparam(f"is_{name}") for name in ("id", *held)]
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    values |= {"state": to, "last_seq": _j.last_seq + bindparam("more")}
    return update(schema.jobs).where(*conditions, _j.state.in_(sources)).values(**values).returning(*schema.jobs.c)


def tell(tx: Tx, job: str, told: Sequence[JobEvent], **held: Any) -> bool:
    """Add events to a job, in their order; False where the values of `held` are not its own.

    Those with a number other than 0 are written, and get the next numbers.
    """
    given = {f"is_{name}": value for name, value in {"id": job, **held}.items()}
    last = tx.execute(_telling(tuple(held)), {**given, "more": _lasting(told)}).scalar_one_or_none()
    if last is not None:
        _record(tx, last, told)
    return last is not None


@cache
def _telling(held: tuple[str, ...]) -> Any:
    conditions = [_j[name] == bindparam(f"is_{name}") for name in ("id", *held)]
    statement = update(schema.jobs).where(*conditions).values(last_seq=_j.last_seq + bindparam("more"))
    return statement.returning(_j.last_seq)


def begin(tx: Tx, jobs: Mapping[str, str]) -> None:
    """The first events of jobs that were just inserted with `last_seq` 1; `jobs` are their names by their ids."""
    first = {"state": JobState.WAITING.value, "attempt": 0}
    data = {name: {**first, "name": name} if name else first for name in set(jobs.values())}
    texts = {name: dump(value) for name, value in data.items()}
    same = {"seq": 1, "type": "state", "at": tx.now}
    direct.add(tx, schema.events, [{"job": job, "data": texts[name], **same} for job, name in jobs.items()])
    tx.events.extend(JobEvent(job, 1, "state", tx.now, data[name]) for job, name in jobs.items())
    tx.wakes.add(hub.NEW)


def _lasting(told: Sequence[JobEvent]) -> int:
    return sum(event.seq != 0 for event in told)


def _record(tx: Tx, last: int, told: Sequence[JobEvent]) -> None:
    """Write the events that are to last, the last of them with the number `last`, and tell all."""
    numbers = iter(range(last - _lasting(told) + 1, last + 1))
    events = [replace(event, seq=next(numbers), at=tx.now) if event.seq else event for event in told]
    rows = [_row(event) for event in events if event.seq]
    tx.execute(_ADD_EVENT, rows if len(rows) > 1 else rows[0])
    tx.events.extend(events)


def _row(event: JobEvent) -> dict[str, Any]:
    return {"job": event.job, "seq": event.seq, "type": event.type, "data": dump(dict(event.data)), "at": event.at}


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
    waiting = tx.execute(_DEPENDENTS, {"is_needs": row.id}).scalars().all()
    if not waiting:
        return
    if to is JobState.DONE:
        tx.execute(update(schema.dependencies).where(d.needs == row.id, d.settled == 0).values(settled=1))
        tx.execute(update(schema.jobs).where(_j.id.in_(waiting)).values(blockers=_j.blockers - 1))
        return
    error = JobError("dependency", f"The job {row.id} that it waits for is {to.value}.", details={"job": row.id})
    for job in waiting:
        move(tx, job, JobState.FAILED, schema.IS_WAITING, error=error)


def counts(connection: Any, owner: str | None = None) -> dict[str, int]:
    """How many jobs are in each state."""
    mine = () if owner is None else (_j.owner == owner,)
    found = dict.fromkeys((state.value for state in JobState), 0)
    for which in (schema.IS_WAITING, schema.IS_ACTIVE, schema.IS_OVER):  # each has an index
        counted = select(_j.state, func.count()).where(which, *mine).group_by(_j.state)
        found |= dict(connection.execute(counted).all())
    return found
