"""Jobs and assets of the store as the contract shows them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from comfyops.api.v2 import shapes
from comfyops.jobs import links
from comfyops.jobs.batches import Batch
from comfyops.jobs.job import Explanation, Job, JobEvent, JobOutput, JobState, Progress

PREFIX = "/api/v2"

_STATUS: Mapping[JobState, shapes.Status] = {
    JobState.WAITING: "queued",
    JobState.BOUND: "queued",
    JobState.RUNNING: "running",
    JobState.STORING: "running",
    JobState.DONE: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "canceled",
    JobState.EXPIRED: "expired",
}

_KINDS: Mapping[str, shapes.Kind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "text": "text",
    "latent": "latent",
}

_LABEL = "label:"


@dataclass(frozen=True, slots=True)
class Site:
    """How the API is reached, and how long things are kept. `base` is scheme and host; times are in seconds.

    `secret` signs links to files, each good for `lifetime`.
    """

    base: str
    retention: float
    now: float
    secret: bytes = field(repr=False)
    lifetime: float

    def link(self, asset: str) -> dict[str, str]:
        """Where an asset may be fetched without a credential, and until when."""
        link = links.make(asset, self.now, self.lifetime)
        url = f"{self.base}{PREFIX}/signed/{asset}?{link.query(self.secret)}"
        return {"url": url, "url_expires_at": iso(link.expires)}


def states(status: str) -> tuple[JobState, ...]:
    """The states that a status of the contract stands for; none for a word that is no status."""
    if status == "canceling":
        return (JobState.BOUND, JobState.RUNNING, JobState.STORING)
    return tuple(state for state, name in _STATUS.items() if name == status)


def status(job: Job) -> shapes.Status:
    """The status of a job."""
    return "canceling" if job.cancel_requested and job.state.active else _STATUS[job.state]


def iso(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def to_tags(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Labels in the form in which jobs keep them."""
    return tuple(_LABEL + json.dumps([key, value]) for key, value in labels.items())


def labels(job: Job) -> dict[str, str]:
    """The labels that a job was given."""
    return dict(json.loads(tag.removeprefix(_LABEL)) for tag in job.tags if tag.startswith(_LABEL))


def job(found: Job, outputs: Iterable[JobOutput], position: int | None, site: Site) -> shapes.Job:
    """A job, whole."""
    return shapes.Job(
        id=found.id,
        status=status(found),
        created_at=iso(found.created_at),
        started_at=_iso(found.started_at),
        completed_at=_iso(found.finished_at),
        expires_at=iso((found.finished_at or max(found.created_at, site.now)) + site.retention),
        queue_position=position,
        progress=progress(found),
        outputs=[output(item, site) for item in outputs],
        error=_error(found),
        metrics=_metrics(found, site.now),
        urls=_urls(found.id),
        metadata=labels(found),
        priority=found.priority,
        name=found.name,
        batch_id=found.batch,
        attempt=found.attempt,
        backend=found.backend,
        owner=found.owner,
    )


def summary(found: Job) -> shapes.JobSummary:
    """A job in a list."""
    changed = found.finished_at or found.started_at or found.bound_at or found.created_at
    return shapes.JobSummary(
        id=found.id,
        status=status(found),
        created_at=iso(found.created_at),
        create_time=iso(found.created_at),
        update_time=iso(changed),
        metadata=labels(found),
        priority=found.priority,
        name=found.name,
        batch_id=found.batch,
        outputs_count=found.outputs_count,
        owner=found.owner,
    )


def progress(found: Job) -> shapes.Progress | None:
    """How far a job is; None before it runs."""
    if found.state is JobState.DONE:
        nodes = found.progress.nodes if found.progress else len(found.graph or ())
        return shapes.Progress(value=1.0, nodes_done=nodes, nodes_total=nodes)
    if found.progress is None:
        return None
    return snapshot(found.progress, found.graph)


def snapshot(at: Progress, graph: Mapping[str, object] | None) -> shapes.Progress:
    """One look at a run: finished nodes, and of the one at work its steps."""
    part = at.value / at.maximum if at.maximum > 0 else 0.0
    value = min(1.0, (at.nodes_done + min(1.0, part)) / at.nodes) if at.nodes else min(1.0, part)
    node = (graph or {}).get(at.node)
    class_type = node.get("class_type") if isinstance(node, Mapping) else None
    steps = int(at.maximum) if at.maximum > 0 else None
    words = f"{class_type or at.node} {int(at.value)}/{steps}" if at.node and steps else None
    return shapes.Progress(
        value=max(0.0, value),
        nodes_done=at.nodes_done,
        nodes_total=at.nodes,
        current_node=at.node or None,
        current_node_class=class_type if isinstance(class_type, str) else None,
        step=int(at.value) if steps else None,
        steps=steps,
        message=words,
    )


def output(item: JobOutput, site: Site) -> shapes.Output:
    """One output of a job."""
    return shapes.Output(
        node_id=item.node,
        name=item.filename or f"{item.node}_{item.index}.txt",
        type=_KINDS.get(item.kind, "file"),
        content_type=item.mime or ("text/plain; charset=utf-8" if item.kind == "text" else "application/octet-stream"),
        size_bytes=item.size or len(item.text.encode()),
        id=item.id,
        hash=f"blake3:{item.hash}" if item.hash else None,
        job_id=item.job,
        **site.link(item.id),
    )


def batch(found: Batch) -> shapes.Batch:
    """A batch and how its jobs stand."""
    counts: dict[str, int] = {}
    for state, count in found.states.items():
        counts[_STATUS[state]] = counts.get(_STATUS[state], 0) + count
    return shapes.Batch(
        id=found.id,
        name=found.name,
        created_at=iso(found.created_at),
        job_ids=list(found.jobs),
        statuses=counts,
        done=found.over,
    )


def explanation(found: Explanation) -> shapes.Explanation:
    """Why a job is where it is."""
    return shapes.Explanation(
        id=found.job.id,
        status=status(found.job),
        reason=found.reason,
        queue_position=None if found.place is None else found.place + 1,
        waits_for=list(found.waits_for),
        attempts=[
            shapes.Run(
                number=run.number,
                backend=run.backend,
                started_at=iso(run.started_at),
                ended_at=_iso(run.ended_at),
                outcome=run.outcome or "running",
                reason=run.reason,
            )
            for run in found.attempts
        ],
        decisions=[
            shapes.Decision(at=iso(placed.at), backend=placed.backend, reason=placed.reason)
            for placed in found.placements
        ],
    )


def log(events: Iterable[JobEvent]) -> shapes.Log:
    """What happened to a job."""
    return shapes.Log(
        entries=[
            shapes.LogEntry(seq=event.seq, at=iso(event.at), type=event.type, data=dict(event.data)) for event in events
        ]
    )


def is_uuid(text: str) -> bool:
    """Whether this is an id as all ids are: a UUID in lowercase with hyphens."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _urls(job_id: str) -> shapes.JobUrls:
    own = f"{PREFIX}/jobs/{job_id}"
    return shapes.JobUrls(self=own, events=f"{own}/events", cancel=f"{own}/cancel")


def _error(found: Job) -> shapes.JobError | None:
    if found.error is None:
        return None
    code = "node_execution_error" if found.error.node else found.error.code
    return shapes.JobError(
        code=code,
        message=found.error.message,
        node_id=found.error.node or None,
        class_type=found.error.class_type or None,
    )


def _metrics(found: Job, now: float) -> dict[str, int | None]:
    started = found.started_at or (found.finished_at if found.state.over else now)
    running = None if found.started_at is None else (found.finished_at or now) - found.started_at
    queued = 0.0 if started is None else started - found.created_at
    return {
        "queue_ms": max(0, round(queued * 1000)),
        "execution_ms": None if running is None else max(0, round(running * 1000)),
    }
