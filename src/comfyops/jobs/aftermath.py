"""What the end of an attempt tells of its backend: what is loaded there, whether it may be trusted with more."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from comfyops.jobs import endings, hub, schema
from comfyops.jobs.fleet import BackendState
from comfyops.jobs.job import Job
from comfyops.jobs.retry import Cause
from comfyops.jobs.tx import Tx, upsert
from comfyops.jobs.verdicts import bad_end

BAD_IN_A_ROW = 3
"""Jobs in a row of which a backend is to blame, after which it is quarantined."""

_WEIGHT = 0.3  # of the newest time in a mean of times

_a, _b, _t = schema.attempts.c, schema.backends.c, schema.timings.c


def backend_after(tx: Tx, job: Job, end: endings.End) -> None:
    """Note what an attempt told of its backend."""
    kind, code = end["kind"], end.get("error", {}).get("code", "")
    backend = job.backend or ""
    if kind == "done":
        loaded = tx.execute(select(_b.loaded).where(_b.id == backend)).scalar() == job.model_set
        _note_time(tx, job, end, loaded=loaded)
        now = {} if loaded or not job.model_set else {"loaded": job.model_set, "loaded_since": job.bound_at or tx.now}
        _set(tx, backend, failures=0, last_seen=tx.now, **now)
        if job.attempt > 1:
            _blame(tx, job)
    elif code == "backend_stalled":
        _state(tx, backend, BackendState.QUARANTINED, "It takes jobs and does not run them.")
    elif code == "backend_unreachable":
        _state(tx, backend, BackendState.DOWN, end["error"]["message"])
    elif kind == "lost":
        _set(tx, backend, loaded="", loaded_since=0.0)
        _count(tx, backend, "lost")
    elif kind == "failed" and bad_end(end, backend).cause is Cause.MEMORY:
        _set(tx, backend, loaded="", loaded_since=0.0)


def _blame(tx: Tx, job: Job) -> None:
    """Count a job that ran here against the backends where its nodes failed: it was not the job's fault.

    A failure alone says nothing, else whoever submits broken graphs would have every backend put aside.
    """
    failed = select(_a.backend).where(_a.job == job.id, _a.outcome == "failed", _a.backend != job.backend)
    for backend in set(tx.execute(failed).scalars()):
        _count(tx, backend, "failed here and ran elsewhere")


def _count(tx: Tx, backend: str, words: str) -> None:
    _set(tx, backend, failures=_b.failures + 1)
    failures = tx.execute(select(_b.failures).where(_b.id == backend)).scalar() or 0
    if failures >= BAD_IN_A_ROW:
        _state(tx, backend, BackendState.QUARANTINED, f"{failures} jobs in a row were {words}.")


def _set(tx: Tx, backend: str, **values: Any) -> None:
    tx.execute(update(schema.backends).where(_b.id == backend).values(**values))


def _state(tx: Tx, backend: str, state: BackendState, reason: str) -> None:
    """Change the state of a backend that no operator has put aside."""
    own = (BackendState.NEW, BackendState.UP, BackendState.DOWN)
    statement = update(schema.backends).where(_b.id == backend, _b.state.in_(own))
    tx.execute(statement.values(state=state, reason=reason[:500], loaded="", loaded_since=0.0, probe_at=tx.now))
    tx.wakes.add(hub.PROBE)


def _note_time(tx: Tx, job: Job, end: endings.End, *, loaded: bool) -> None:
    """Have the job's run time count in what later placements expect."""
    started, finished = end.get("started_at"), end.get("finished_at")
    if end.get("cached") or started is None or finished is None or finished < started:
        return
    seconds = finished - started
    column = "warm" if loaded else "cold"
    known = tx.execute(select(_t.warm, _t.cold, _t.runs).where(_t.needs_key == job.needs_key)).one_or_none()
    before = getattr(known, column) if known else 0.0
    mean = seconds if before == 0.0 else before + _WEIGHT * (seconds - before)
    new = {"needs_key": job.needs_key, "warm": 0.0, "cold": 0.0, "runs": 1, column: mean}
    tx.execute(upsert(tx, schema.timings, new, ["needs_key"], {column: mean, "runs": _t.runs + 1}))
