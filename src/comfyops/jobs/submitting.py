"""Taking jobs in: what a submission must be, and the rows of one that was accepted."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from comfyops.errors import DependencyError, DuplicateKeyError, UnknownJobError, UsageError
from comfyops.jobs import quotas, references, rows, schema, transitions
from comfyops.jobs.job import OVER, Accepted, Job, JobState, Submission
from comfyops.jobs.needs import Needs, needs_of
from comfyops.jobs.store import Tx, adding
from comfyops.jobs.webhooks import check_address
from comfyops.workflows import api_format
from comfyops.workflows.node_types import NodeTypes

MAX_PRIORITY = 1_000_000
MAX_DELAY = 366 * 86_400.0  # seconds
_MAX_TEXT = 2000  # characters of a name, tag, key or address

_j = schema.jobs.c
_ADD_JOB, _ADD_REQUEST = insert(schema.jobs), insert(schema.requests)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission that was checked: its texts for the database, what it needs, whom it waits for."""

    submission: Submission
    graph: str
    extra_data: str
    needs: Needs
    waits_for: tuple[str, ...]

    @property
    def request_hash(self) -> str:
        """What tells this request from another one."""
        return self.submission.request_hash or _hash(self.submission, self.graph)


def prepare(submission: Submission, types: NodeTypes | None = None) -> Prepared:
    """Check a submission and see what it needs; `types` are node types beyond the shipped ones. Takes milliseconds.

    Raises WorkflowFormatError, UiFormatError, UsageError.
    """
    _check(submission)
    graph = api_format.parse(dict(submission.graph))
    found = references.find(submission.graph)
    jobs = [reference.job for reference in found if isinstance(reference, references.OutputOf)]
    text = rows.dump(submission.graph)
    return Prepared(
        submission,
        text,
        rows.dump(dict(submission.extra_data)),
        needs_of(
            graph,
            types,
            vram=submission.needs_vram,
            tags=submission.needs_tags,
            backend=submission.backend or "",
        ),
        tuple(dict.fromkeys([*submission.depends_on, *jobs])),
    )


def _hash(submission: Submission, graph: str) -> str:
    said = [graph, submission.name, submission.priority, submission.delay, submission.deadline, submission.depends_on]
    said += [submission.tags, submission.needs_tags, submission.backend, submission.webhook_url]
    said += [submission.needs_vram] if submission.needs_vram else []  # what came before has the hash it had
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _check(submission: Submission) -> None:
    texts = [submission.name, submission.idempotency_key or "", submission.webhook_url, submission.client_id]
    if any(len(text) > _MAX_TEXT or "\x00" in text for text in [*texts, *submission.tags, *submission.needs_tags]):
        raise UsageError(f"A name, tag, key or address of the job is longer than {_MAX_TEXT} characters or binary.")
    if abs(submission.priority) > MAX_PRIORITY:
        raise UsageError(f"The priority {submission.priority} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}.")
    if not 0 <= submission.delay <= MAX_DELAY:
        raise UsageError(f"The delay {submission.delay:g} is not between 0 and {MAX_DELAY:g} seconds.")
    if submission.needs_vram < 0:
        raise UsageError("The memory that a job needs is not negative.")
    if submission.webhook_url:
        check_address(submission.webhook_url)
    if submission.deadline is not None and not math.isfinite(submission.deadline):
        raise UsageError("The deadline is no time.")
    for job in [*submission.depends_on, *([submission.id] if submission.id else [])]:
        if not _canonical(job):
            raise UsageError(f"{job[:80]!r} is not the id of a job: it must be a UUID in lowercase with hyphens.")


def _canonical(job: str) -> bool:
    try:
        return str(UUID(job)) == job
    except (ValueError, AttributeError, TypeError):
        return False


def accept(tx: Tx, prepared: Prepared, owner: str, max_waiting: int | None) -> Accepted:
    """Write a job, or find the one that its key stands for. Raises as `Queue.submit`."""
    submission = prepared.submission
    job_id = submission.id or str(uuid4())
    if submission.idempotency_key is not None:
        row = take_key(tx, owner, submission.idempotency_key, prepared.request_hash, job=job_id)
        if row is not None:
            return Accepted(_replayed(tx, row.job, owner), True)
    quotas.check_waiting(tx, owner, 1, max_waiting)
    return Accepted(add(tx, prepared, owner, job_id))


def _replayed(tx: Tx, job: str | None, owner: str) -> Job:
    if job is None:
        raise DuplicateKeyError("This idempotency key was used for a batch.")
    return rows.read_job(tx.connection, job, owner)


def take_key(tx: Tx, owner: str, key: str, request_hash: str, **values: str) -> Row[Any] | None:
    """Have a key stand for this request; gives its row where it does already.

    Raises DuplicateKeyError where it stands for another.
    """
    row = {"owner": owner, "key": key, "request_hash": request_hash, "created_at": tx.now, **values}
    k = schema.idempotency.c
    add_key = adding(tx.connection.dialect.name, schema.idempotency).values(**row)
    if tx.execute(add_key.returning(k.key)).first() is not None:
        return None
    found: Row[Any] = tx.execute(select(schema.idempotency).where(k.owner == owner, k.key == key)).one()
    if found.request_hash != request_hash:
        raise DuplicateKeyError(f"The idempotency key {key[:80]!r} was used for another request.", job=found.job)
    return found


def add(tx: Tx, prepared: Prepared, owner: str, job_id: str, *, batch: str | None = None, schedule: str = "") -> Job:
    """Write the rows of a new job. Raises UsageError where its id is taken, UnknownJobError, DependencyError."""
    submission = prepared.submission
    blockers = unsettled(tx, prepared.waits_for, owner)
    _remember_needs(tx, prepared.needs)
    values = {
        "id": job_id,
        "owner": owner,
        "state": JobState.WAITING,
        "name": submission.name,
        "priority": submission.priority,
        "tags": rows.dump(submission.tags),
        "batch": batch or submission.batch,
        "schedule": schedule or None,
        "created_at": tx.now,
        "not_before": tx.now + submission.delay if submission.delay else 0.0,
        "deadline": submission.deadline,
        "needs_key": prepared.needs.key,
        "blockers": sum(blockers.values()),
        "avoid": "",
        "attempt": 0,
        "failures": 0,
        "epoch": 0,
        "client_id": submission.client_id,
        "webhook_url": submission.webhook_url,
        "last_seq": 1,
        "outputs_count": 0,
    }
    try:
        with tx.nested():
            tx.execute(_ADD_JOB, values)
    except IntegrityError as error:
        raise UsageError(f"The id {job_id} belongs to another job already.", job=job_id) from error
    tx.execute(_ADD_REQUEST, {"job": job_id, "graph": prepared.graph, "extra_data": prepared.extra_data})
    for needs, open_ in blockers.items():
        tx.execute(insert(schema.dependencies).values(job=job_id, needs=needs, settled=0 if open_ else 1))
    transitions.begin(tx, job_id, {"name": submission.name} if submission.name else {})
    return rows.read_job(tx.connection, job_id)


def unsettled(tx: Tx, jobs: Sequence[str], owner: str) -> dict[str, bool]:
    """Whether each of these jobs still has to run. Raises UnknownJobError, DependencyError."""
    blockers = {}
    for job in jobs:
        # The lock keeps it from ending between this look and the row that says somebody waits for it.
        row = tx.execute(select(_j.state, _j.owner).where(_j.id == job).with_for_update(read=True)).one_or_none()
        if row is None or row.owner != owner:
            raise UnknownJobError(f"There is no job {job!r} to wait for.", job=job)
        if row.state in OVER and row.state != JobState.DONE:
            raise DependencyError(f"The job {job} is {row.state}: what it should make will not come.", job=job)
        blockers[job] = row.state != JobState.DONE
    return blockers


def _remember_needs(tx: Tx, needs: Needs) -> None:
    row = {"key": needs.key, "model_set": needs.model_set, "document": rows.dump(needs.as_dict())}
    tx.execute(adding(tx.connection.dialect.name, schema.needs), row)
