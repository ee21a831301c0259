"""The JSON of the contract: requests and answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["queued", "running", "succeeded", "canceling", "canceled", "failed", "expired"]
Kind = Literal["image", "video", "audio", "text", "file", "latent"]

MAX_LABELS = 50
MAX_TEXT = 2000
"""Characters of a label, name or tag."""

NO_NUL = r"^[^\x00]*$"
"""What PostgreSQL can keep and look for as a text."""


class Problem(BaseModel):
    """What is wrong: a stable code and one sentence."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class ErrorEnvelope(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


class Progress(BaseModel):
    """How far a job is; each snapshot is complete. `value` is a fraction of all, from 0 to 1."""

    value: float = Field(ge=0, le=1)
    nodes_done: int
    nodes_total: int
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None
    message: str | None = None


class JobUrls(BaseModel):
    """Where to go on; host-relative."""

    self: str
    events: str
    cancel: str


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None
    traceback: str | None = None


class Output(BaseModel):
    """One output of a job, which is an asset too. `url` is absolute and needs no credential until it expires."""

    node_id: str
    name: str
    type: Kind
    content_type: str
    size_bytes: int
    id: str
    hash: str | None
    url: str
    url_expires_at: str
    job_id: str


class Job(BaseModel):
    """One job, with the outputs it has so far. Times are ISO 8601 in UTC."""

    id: str
    status: Status
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str
    queue_position: int | None
    progress: Progress | None
    outputs: list[Output]
    error: JobError | None
    metrics: dict[str, int | None]
    urls: JobUrls
    metadata: dict[str, str]
    priority: int
    name: str
    batch_id: str | None
    attempt: int
    backend: str | None
    owner: str


class JobSummary(BaseModel):
    """One job in a list."""

    id: str
    status: Status
    created_at: str
    create_time: str
    update_time: str
    metadata: dict[str, str]
    priority: int
    name: str
    batch_id: str | None = None
    outputs_count: int
    owner: str


class JobList(BaseModel):
    """One page of jobs, newest first; without `next_cursor` it is the last."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


class Workflow(BaseModel):
    """The graph of a job."""

    workflow: dict[str, Any]
    format: Literal["api"] = "api"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JobRequest(_Request):
    """A workflow to run. Ours beyond the contract: everything after `metadata`.

    A smaller `priority` goes first. `delay` is in seconds, `deadline` a time in seconds since the epoch after which the
    job is not begun any more, `needs_vram_gb` the GiB of memory that a device of its backend must have.
    """

    workflow: dict[str, Any]
    extra_data: dict[str, Any] | None = None
    metadata: dict[str, str] | str | None = None
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    webhook_url: str = Field(default="", max_length=MAX_TEXT)
    name: str = Field(default="", max_length=MAX_TEXT)
    delay: float = Field(default=0.0, ge=0)
    deadline: float | None = None
    depends_on: list[str] = Field(default_factory=list, max_length=1000)
    needs_tags: list[str] = Field(default_factory=list, max_length=100)
    needs_vram_gb: float = Field(default=0.0, ge=0, le=100_000)
    backend: str | None = Field(default=None, max_length=100)


class BatchRequest(_Request):
    """Many jobs as one: all are taken or none."""

    jobs: list[JobRequest] = Field(min_length=1, max_length=10_000)
    name: str = Field(default="", max_length=MAX_TEXT, pattern=NO_NUL)


class Batch(BaseModel):
    """A batch: its jobs in their order, and how many are in each state."""

    id: str
    name: str
    created_at: str
    job_ids: list[str]
    statuses: dict[str, int]
    done: bool


class PriorityRequest(_Request):
    """The new priority of a waiting job; a smaller one goes first."""

    priority: int = Field(ge=-1_000_000, le=1_000_000)


class Run(BaseModel):
    """One attempt of a job at a backend."""

    number: int
    backend: str
    started_at: str
    ended_at: str | None
    outcome: str
    reason: str


class Decision(BaseModel):
    """Where a job was sent, or why it was sent nowhere."""

    at: str
    backend: str | None
    reason: str


class Explanation(BaseModel):
    """Why a job is where it is."""

    id: str
    status: Status
    reason: str
    queue_position: int | None
    waits_for: list[str]
    attempts: list[Run]
    decisions: list[Decision]


class LogEntry(BaseModel):
    """One thing that happened to a job; `seq` counts from 1."""

    seq: int
    at: str
    type: str
    data: dict[str, Any]


class Log(BaseModel):
    """What happened to a job, first to last."""

    entries: list[LogEntry]


class Asset(BaseModel):
    """A file of its owner, over bytes that are stored once. `url` is absolute and needs no credential.

    `delivered_url` is only given where it is asked for: a link to the copy in the bucket that outputs are copied to.
    """

    id: str
    hash: str | None
    size_bytes: int
    content_type: str
    file_path: str | None = None
    tags: list[str] = Field(default_factory=list)
    created_new: bool | None = None
    created_at: str
    url: str
    url_expires_at: str
    expires_at: str | None = None
    job_id: str | None = None
    delivered_url: str | None = None


class FromHash(_Request):
    """A new asset over bytes that are here already."""

    hash: str
    file_path: str | None = Field(default=None, max_length=1024)
    tags: list[str] = Field(default_factory=list, max_length=100)


class FromPath(_Request):
    """A new asset from a file of this machine, below a folder that the operator named."""

    path: str = Field(max_length=4096)
    file_path: str | None = Field(default=None, max_length=1024)
    content_type: str | None = Field(default=None, max_length=200)


class Health(BaseModel):
    """Whether jobs are taken and carried out."""

    status: Literal["healthy", "degraded"]
    backends: int
    backends_up: int
    paused: bool
