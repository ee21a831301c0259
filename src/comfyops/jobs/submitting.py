"""What a submission must be, and what it needs. Pure, but for the shipped node types."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from uuid import UUID

from comfyops.errors import UsageError
from comfyops.jobs import references, rows
from comfyops.jobs.job import Submission
from comfyops.jobs.needs import Needs, needs_of
from comfyops.jobs.webhooks import check_address
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

MAX_PRIORITY = 1_000_000
MAX_DELAY = 366 * 86_400.0  # seconds
_MAX_TEXT = 2000  # characters of a name, tag, key or address


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


def prepare(submission: Submission, types: NodeTypes | None = None, graph: Graph | None = None) -> Prepared:
    """Check a submission and see what it needs; `types` are node types beyond the shipped ones. Takes milliseconds.

    `graph` is the submission's own, where somebody has read it already.

    Raises WorkflowFormatError, UiFormatError, UsageError.
    """
    _check(submission)
    graph = graph or api_format.parse(dict(submission.graph))
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
