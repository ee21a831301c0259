"""What a dispatcher writes as a job goes its way: bound, claimed, running, storing, concluded. All compare-and-set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from comfyops.jobs import aftermath, direct, endings, rows, schema, transitions, verdicts
from comfyops.jobs.asset_records import keep_assets, output_id
from comfyops.jobs.collecting import Made
from comfyops.jobs.job import Job, JobEvent, JobState
from comfyops.jobs.kept import Kept
from comfyops.jobs.retry import Past
from comfyops.jobs.tx import Tx

_j, _b, _a = schema.jobs.c, schema.backends.c, schema.attempts.c
_ADD_ATTEMPT, _ADD_PLACEMENT = insert(schema.attempts), insert(schema.placements)


ELSEWHERE = 10.0
"""Seconds for which a job that ended badly at a backend is left to the others, where there are any."""


FAR = 3600.0
"""Seconds; no pause before another attempt is as long. A later time is of a clock that was set back."""


def is_due(now: float) -> ColumnElement[bool]:
    """Whether the time of a waiting job has come."""
    return or_(_j.not_before <= now, and_(_j.failures > 0, _j.not_before > now + FAR))


def prompt_id(job: str, attempt: int) -> str:
    """The id of an attempt at its backend: the job's own for the first, one that follows from both for the others."""
    return job if attempt == 1 else str(uuid5(UUID(job), str(attempt)))


def bind(tx: Tx, head: dict[str, Any], backend: str, dispatcher: str, reason: str) -> Job | None:
    """Bind the first job of a group to a backend that this dispatcher leases.

    `head` has the group's owner, priority and needs_key. None where the job, the backend or the lease is gone.
    """
    if not _leased(tx, backend, dispatcher):
        return None
    row = tx.execute(_first(tx, head, backend).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    attempt = row.attempt + 1
    run = prompt_id(row.id, attempt)
    try:
        with tx.nested():
            moved = transitions.move(
                tx,
                row.id,
                JobState.BOUND,
                held={"attempt": row.attempt},
                data={"reason": reason},
                runner=dispatcher,
                attempt=attempt,
                epoch=_j.epoch + 1,
                bound_at=tx.now,
                started_at=None,
                backend=backend,
                prompt_id=run,
            )
    except IntegrityError:  # the backend has another job
        return None
    if moved is None:
        return None
    new = {"started_at": tx.now, "outcome": "", "reason": "", "signature": ""}
    tx.execute(_ADD_ATTEMPT, {"job": row.id, "number": attempt, "backend": backend, "prompt_id": run, **new})
    tx.execute(_ADD_PLACEMENT, {"job": row.id, "at": tx.now, "backend": backend, "reason": reason})
    return rows.read_job(tx.connection, row.id)


def _first(tx: Tx, head: dict[str, Any], backend: str) -> Any:
    """The statement for the job of a group that goes first at a backend."""
    ready = [schema.IS_WAITING, _j.blockers == 0, is_due(tx.now)]
    ready += [_j[name] == value for name, value in head.items()]
    another = exists(select(_b.id).where(_b.state == "up", _b.id != backend))
    ready.append(or_(_j.avoid != backend, _j.not_before <= tx.now - ELSEWHERE, ~another))  # elsewhere, if it can soon
    return select(_j.id, _j.attempt).where(*ready).order_by(_j.number).limit(1)


def _leased(tx: Tx, backend: str, dispatcher: str) -> bool:
    lease = select(_b.id).where(
        _b.id == backend, _b.dispatcher == dispatcher, _b.lease_until > tx.now, _b.state == "up"
    )
    return tx.execute(lease.with_for_update(read=True)).first() is not None


def claim(tx: Tx, job: str, attempt: int, dispatcher: str) -> Job | None:
    """Take over an attempt that is under way; whoever had it is refused from now on. None where it is over."""
    mine = update(schema.jobs).where(_j.id == job, _j.attempt == attempt, schema.IS_ACTIVE)
    if not tx.execute(mine.values(runner=dispatcher, epoch=_j.epoch + 1)).rowcount:
        return None
    return rows.read_job(tx.connection, job)


def running(tx: Tx, job: Job) -> bool:
    """The backend has it. False where another process has the job."""
    moved = transitions.move(tx, job.id, JobState.RUNNING, held=_held(job), started_at=tx.now)
    return moved is not None or _in(tx, job, JobState.RUNNING)


def storing(tx: Tx, job: Job, told: Sequence[JobEvent] = ()) -> bool:
    """It ran, which told this last; its outputs are fetched. False where another process has the job."""
    if transitions.move(tx, job.id, JobState.STORING, held=_held(job), before=told) is not None:
        return True
    if _in(tx, job, JobState.BOUND):  # it ended before anybody noted that it ran
        transitions.move(tx, job.id, JobState.RUNNING, held=_held(job), started_at=tx.now)
        return transitions.move(tx, job.id, JobState.STORING, held=_held(job), before=told) is not None
    return _in(tx, job, JobState.STORING)


def _held(job: Job) -> dict[str, int]:
    return {"attempt": job.attempt, "epoch": job.epoch}


_MINE = (_j.id == bindparam("is_id"), _j.attempt == bindparam("is_attempt"), _j.epoch == bindparam("is_epoch"))
_HELD = select(_j.state, _j.failures, _j.cancel_requested).where(*_MINE, schema.IS_ACTIVE)


def _read_held(tx: Tx, job: Job) -> Any:
    """How an active job stands; None where it is over, or another process has it."""
    return tx.execute(_HELD, {"is_id": job.id, "is_attempt": job.attempt, "is_epoch": job.epoch}).one_or_none()


def _in(tx: Tx, job: Job, state: JobState) -> bool:
    held = _read_held(tx, job)
    return held is not None and held.state == state


def conclude(tx: Tx, job: Job, end: endings.End, made: Sequence[Made], told: Sequence[JobEvent] = ()) -> bool:
    """Write how an attempt ended, with what it made and told last: the job is over, or waits to be run again.

    False where another process has the job.
    """
    held = _read_held(tx, job)
    if held is None:
        return False
    if made:
        _keep_outputs(tx, job, made)
    count: dict[str, Any] = {"outputs_count": len(made)} if made else {}
    verdict = verdicts.decide(
        end,
        _bad_ends(tx, job, held.failures) if held.failures else [],
        cancelled=held.cancel_requested is not None,
        backend=job.backend or "",
        began=held.state != JobState.BOUND,
        chance=random.random(),
    )
    _close_attempt(tx, job, verdict)
    if verdict.to is JobState.WAITING:
        transitions.move(
            tx,
            job.id,
            verdict.to,
            held=_held(job),
            error=verdict.error,
            data={"reason": verdict.reason},
            not_before=tx.now + verdict.delay,
            failures=held.failures + 1,
            avoid=job.backend or "",
            before=told,
            **count,
        )
    else:
        transitions.move(tx, job.id, verdict.to, held=_held(job), error=verdict.error, before=told, **count)
    aftermath.backend_after(tx, job, end)
    return True


def _bad_ends(tx: Tx, job: Job, count: int) -> list[Past]:
    """The last attempts before this one, which all ended badly since somebody last had the job run."""
    earlier = select(_a.backend, _a.signature).where(_a.job == job.id, _a.number < job.attempt)
    found = tx.execute(earlier.order_by(_a.number.desc()).limit(count))
    return [Past(row.backend, row.signature) for row in found][::-1]


def _close_attempt(tx: Tx, job: Job, verdict: verdicts.Verdict) -> None:
    ended = {"ended_at": tx.now, "outcome": verdict.outcome, "reason": verdict.reason, "signature": verdict.signature}
    mine = update(schema.attempts).where(_a.job == job.id, _a.number == job.attempt, _a.ended_at.is_(None))
    tx.execute(mine.values(**ended))


def _keep_outputs(tx: Tx, job: Job, made: Sequence[Made]) -> None:
    if job.attempt > 1:
        tx.execute(delete(schema.outputs).where(schema.outputs.c.job == job.id))
    keep_assets(tx, _kept(made))
    values = []
    for index, item in enumerate(made):
        output, kept = item.output, item.kept
        row = {
            "job": job.id,
            "index": index,
            "id": output_id(job.id, index),
            "node": output.node,
            "kind": output.kind.value,
            "filename": output.filename,
            "subfolder": output.subfolder,
            "folder_type": output.folder_type,
            "hash": kept.hash if kept else None,
            "size": kept.size if kept else len(output.text.encode()),
            "mime": item.mime,
            "text": output.text,
        }
        values.append(row)
    direct.add(tx, schema.outputs, values)


def keep_unused(tx: Tx, made: Sequence[Made]) -> None:
    """Have records of files that no job names, so that they go when their time has come."""
    keep_assets(tx, _kept(made))


def _kept(made: Sequence[Made]) -> list[tuple[Kept, str]]:
    return [(item.kept, item.mime) for item in made if item.kept is not None]
