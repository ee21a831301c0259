"""A job: one durable request to run a workflow, as values. Times are seconds since the epoch. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return NOTHING


class JobState(StrEnum):
    """Where a job is. It moves waiting -> bound -> running -> storing -> done; see `transitions` for all moves."""

    WAITING = "waiting"  # for its time, for other jobs, or for a free backend
    BOUND = "bound"  # a backend is chosen, nothing runs there yet
    RUNNING = "running"  # the backend has it
    STORING = "storing"  # it ran; its outputs are fetched
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # its deadline passed before it ran

    @property
    def active(self) -> bool:
        """Whether it holds a backend."""
        return self in ACTIVE

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self in OVER


ACTIVE = (JobState.BOUND, JobState.RUNNING, JobState.STORING)
OVER = (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)

_WAITING, _BOUND, _RUNNING, _STORING = JobState.WAITING, JobState.BOUND, JobState.RUNNING, JobState.STORING
_ENDS = frozenset([JobState.FAILED, JobState.CANCELLED])

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _WAITING: _ENDS | {_BOUND, JobState.EXPIRED},
        _BOUND: _ENDS | {_RUNNING, _WAITING},
        _RUNNING: _ENDS | {_STORING, _WAITING},
        _STORING: _ENDS | {JobState.DONE, _WAITING},
        JobState.DONE: frozenset(),
        JobState.FAILED: frozenset([_WAITING]),
        JobState.CANCELLED: frozenset([_WAITING]),
        JobState.EXPIRED: frozenset([_WAITING]),
    }
)
"""From each state those that may follow; back to waiting by a retry."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. `permanent` = another attempt would fail the same way; `node` is a node's id or ""."""

    code: str
    message: str
    node: str = ""
    class_type: str = ""
    exception_type: str = ""
    permanent: bool = True
    details: Mapping[str, Any] = field(default_factory=_nothing)

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "code": self.code,
            "message": self.message,
            "node": self.node,
            "class_type": self.class_type,
            "exception_type": self.exception_type,
            "permanent": self.permanent,
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JobError:
        """The value of `as_dict`."""
        return cls(**{**data, "details": MappingProxyType(dict(data.get("details") or {}))})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the node at work, its steps, and how many of the graph's nodes are finished."""

    node: str = ""
    value: float = 0
    maximum: float = 0
    nodes_done: int = 0
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store has it. `graph` is in API format; lists of jobs come without it (None).

    `number` grows with each job and is never used twice. `prompt_id` is the id of its run at the backend, `epoch` the
    fencing number of whoever carries it out (`runner`). Smaller `priority` goes first.
    """

    id: str
    number: int
    owner: str
    state: JobState
    created_at: float
    name: str = ""
    priority: int = 0
    tags: tuple[str, ...] = ()
    batch: str | None = None
    attempt: int = 0
    epoch: int = 0
    backend: str | None = None
    runner: str | None = None
    prompt_id: str | None = None
    not_before: float = 0
    deadline: float | None = None
    bound_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    cancel_requested: bool = False
    needs_key: str = ""
    model_set: str = ""
    client_id: str = ""
    webhook_url: str = ""
    error: JobError | None = None
    progress: Progress | None = None
    outputs_count: int = 0
    graph: Mapping[str, Any] | None = None
    extra_data: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody wants done. `graph` is in API format.

    An input value `{"$output": {"job": ID, "index": N}}` (or with "node" instead of "index") stands for a file that
    another job made; that job is waited for, and its failure fails this one. `{"$asset": HASH}` stands for a stored
    file. `delay` is in seconds from now, `deadline` a time after which it is not begun any more. `id` is a fresh UUID
    that the client chose. `request_hash` tells two requests with one `idempotency_key` apart. `needs_vram` is the least
    memory of a device in bytes.
    """

    graph: Mapping[str, Any]
    id: str | None = None
    idempotency_key: str | None = None
    request_hash: str = ""
    name: str = ""
    priority: int = 0
    delay: float = 0
    deadline: float | None = None
    depends_on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    needs_tags: tuple[str, ...] = ()
    needs_vram: int = 0
    backend: str | None = None
    batch: str | None = None
    webhook_url: str = ""
    client_id: str = ""
    extra_data: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a submission; `replayed` = it is the answer to an earlier one with the same key."""

    job: Job
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class JobEvent:
    """What happened to a job. `seq` counts the job's durable events from 1; 0 = passing, not kept (fine progress).

    Types: "state" (data: state, attempt, backend, error), "started", "cached" (nodes), "node" (node), "progress" (node,
    value, maximum), "text" (node, text), "outputs" (node, count, shown = what the server says that it shows, by key),
    "note" (text), "preview" (node, mime_type; `blob`).
    """

    job: str
    seq: int
    type: str
    at: float
    data: Mapping[str, Any] = field(default_factory=_nothing)
    blob: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class JobOutput:
    """One output of a job, in the store. `hash` is the BLAKE3 of its bytes; "" with `text` for a text.

    `id` is that of an asset, and the same after each attempt.
    `filename`, `subfolder` and `folder_type` are as the backend named it. Sizes in bytes.
    """

    id: str
    job: str
    index: int
    node: str
    kind: str
    filename: str = ""
    subfolder: str = ""
    folder_type: str = "output"
    hash: str = ""
    sha256: str = ""
    size: int = 0
    mime: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a list has: empty fields do not restrict. Newest first unless `oldest_first`; without their graphs
    unless `with_graphs`. `offset` are jobs left out at the beginning.
    """

    owner: str | None = None
    states: tuple[JobState, ...] = ()
    batch: str | None = None
    backend: str | None = None
    tags: tuple[str, ...] = ()
    name: str | None = None
    client_id: str | None = None
    ids: tuple[str, ...] = ()
    limit: int = 50
    offset: int = 0
    oldest_first: bool = False
    with_graphs: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and the cursor for those after them; None = there are no more."""

    jobs: tuple[Job, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job. `outcome` is "" while it goes on, else done, failed, lost, cancelled or refused."""

    job: str
    number: int
    backend: str
    prompt_id: str
    started_at: float
    ended_at: float | None = None
    outcome: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """One decision about where a job goes, or why it goes nowhere yet. `backend` None = a refusal."""

    job: str
    at: float
    backend: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that decided about a job so far."""

    job: Job
    attempts: tuple[Attempt, ...]
    placements: tuple[Placed, ...]
    waits_for: tuple[str, ...] = ()
    place: int | None = None  # how many waiting jobs go before it
    reason: str = ""  # one sentence: why it is where it is
