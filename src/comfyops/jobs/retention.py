"""What is kept for how long, and what happens to jobs whose time has passed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import delete, select

from comfyops.jobs import schema, transitions
from comfyops.jobs.engine import run_id
from comfyops.jobs.job import OVER, JobError, JobState
from comfyops.jobs.queue import Queue
from comfyops.jobs.tx import Tx

_DAY = 86_400.0  # seconds
_AT_ONCE = 200  # jobs in one transaction

_j = schema.jobs.c


@dataclass(frozen=True, slots=True)
class Keep:
    """Seconds for which jobs that are over, files that no job has, and idempotency keys are kept; None = for good."""

    jobs: float | None = 30 * _DAY
    files: float | None = 30 * _DAY
    keys: float = 2 * _DAY


def expire(tx: Tx) -> int:
    """End waiting jobs whose deadline has passed; gives how many."""
    late = select(_j.id).where(schema.IS_WAITING, _j.deadline.is_not(None), _j.deadline < tx.now)
    jobs = list(tx.execute(late.limit(_AT_ONCE)).scalars())
    error = JobError("deadline", "Its deadline passed before it could run.")
    for job in jobs:
        transitions.move(tx, job, JobState.EXPIRED, schema.IS_WAITING, error=error)
    return len(jobs)


async def sweep(queue: Queue, keep: Keep) -> list[str]:
    """Forget what is old, a part at a time; gives the runs that the engine may forget too."""
    runs = await queue.store.write(lambda tx: _old_jobs(tx, keep))
    await queue.store.write(lambda tx: _old_keys(tx, keep))
    gone = await queue.store.write(lambda tx: _unused_assets(tx, keep))
    for digest in gone:
        await asyncio.to_thread(queue.thumbnails.remove, digest)
        await asyncio.to_thread(queue.files.remove, digest)
    await asyncio.to_thread(queue.files.sweep)
    return runs


def _old_jobs(tx: Tx, keep: Keep) -> list[str]:
    if keep.jobs is None:
        return []
    needed = select(schema.dependencies.c.needs).where(schema.dependencies.c.settled == 0)
    old = select(_j.id).where(_j.finished_at < tx.now - keep.jobs, _j.state.in_(OVER), _j.id.not_in(needed))
    jobs = list(tx.execute(old.order_by(_j.finished_at).limit(_AT_ONCE)).scalars())
    if not jobs:
        return []
    a = schema.attempts.c
    runs = [run_id(row.job, row.number) for row in tx.execute(select(a.job, a.number).where(a.job.in_(jobs)))]
    tx.execute(delete(schema.jobs).where(_j.id.in_(jobs)))
    return runs


def _old_keys(tx: Tx, keep: Keep) -> None:
    tx.execute(delete(schema.idempotency).where(schema.idempotency.c.created_at < tx.now - keep.keys))


def _unused_assets(tx: Tx, keep: Keep) -> list[str]:
    """Forget files that nothing names any more and that nobody used lately."""
    if keep.files is None:
        return []
    a = schema.assets.c
    named = [select(table.c.hash).where(table.c.hash.is_not(None)) for table in _NAMING]
    old = select(a.hash).where(a.used_at < tx.now - keep.files, *(a.hash.not_in(names) for names in named))
    digests = list(tx.execute(old.limit(_AT_ONCE)).scalars())
    if digests:
        tx.execute(delete(schema.assets).where(a.hash.in_(digests)))
    return digests


_NAMING = (schema.outputs, schema.uploads, schema.asset_names)
