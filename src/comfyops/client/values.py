"""What a gateway tells of jobs, as values read from its JSON. Times are ISO 8601 in UTC, sizes bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

from comfyops.errors import NotComfyUIError

T = TypeVar("T")

Data = Mapping[str, Any]

OVER = frozenset({"succeeded", "failed", "canceled", "expired"})
"""The statuses after which nothing more happens to a job by itself."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: `value` is a fraction of all, from 0 to 1; step of steps of the node at work."""

    value: float
    nodes_done: int = 0
    nodes_total: int = 0
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class JobProblem:
    """Why a job failed: a stable code, one sentence, and the node where it was one."""

    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None


@dataclass(frozen=True, slots=True)
class JobOutput:
    """One output of a job. `hash` is "blake3:HEX", None for a text; `type`: image, video, audio, text, latent, file."""

    id: str
    node_id: str
    name: str
    type: str
    content_type: str
    size_bytes: int
    hash: str | None
    url: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `status` is queued, running, canceling, succeeded, failed, canceled or expired.

    In a list `outputs`, `progress` and `error` are left out; `outputs_count` is there always.
    """

    id: str
    status: str
    created_at: str
    name: str = ""
    owner: str = ""
    priority: int = 0
    batch_id: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    queue_position: int | None = None
    attempt: int = 0
    backend: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    progress: JobProgress | None = None
    error: JobProblem | None = None
    outputs: tuple[JobOutput, ...] = ()
    outputs_count: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status in OVER

    @classmethod
    def of(cls, data: Data) -> Job:
        """A job, whole or of a list."""
        listed = {"outputs": [], **data} if isinstance(data, Mapping) else data
        outputs = _all(JobOutput, listed, "outputs")
        progress, error = data.get("progress"), data.get("error")
        own = {
            "outputs": outputs,
            "progress": pick(JobProgress, progress) if progress else None,
            "error": pick(JobProblem, error) if error else None,
            "outputs_count": data.get("outputs_count", len(outputs)),
        }
        return pick(cls, {**data, **own})


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and the cursor for those after them; None = there are no more."""

    jobs: tuple[Job, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Many jobs that were accepted as one: their ids in order, and how many have which status."""

    id: str
    name: str
    created_at: str
    job_ids: tuple[str, ...]
    statuses: Mapping[str, int]
    done: bool

    @classmethod
    def of(cls, data: Data) -> Batch:
        """A batch."""
        return pick(cls, {**data, "job_ids": tuple(items(data, "job_ids"))})


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a job at a backend."""

    number: int
    backend: str
    started_at: str
    ended_at: str | None
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a job was sent, or why it was sent nowhere (`backend` None)."""

    at: str
    backend: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is where it is."""

    id: str
    status: str
    reason: str
    queue_position: int | None
    waits_for: tuple[str, ...]
    attempts: tuple[Run, ...]
    decisions: tuple[Decision, ...]

    @classmethod
    def of(cls, data: Data) -> Explanation:
        """An explanation."""
        own = {
            "waits_for": tuple(items(data, "waits_for")),
            "attempts": _all(Run, data, "attempts"),
            "decisions": _all(Decision, data, "decisions"),
        }
        return pick(cls, {**data, **own})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened to a job: a change of state, a node, a note; `seq` counts from 1."""

    seq: int
    at: str
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a job: `status` (with `job`), `progress`, `preview` (with `blob`) or `output`."""

    type: Literal["status", "progress", "preview", "output"]
    job_id: str
    status: str = ""
    queue_position: int | None = None
    progress: JobProgress | None = None
    output: JobOutput | None = None
    node_id: str = ""
    content_type: str = ""
    blob: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the gateway keeps; `created_new` = its bytes were not there before."""

    id: str
    hash: str | None
    size_bytes: int
    content_type: str
    file_path: str | None = None
    created_new: bool | None = None

    def reference(self) -> dict[str, Any]:
        """What stands for this file as the value of an input in a graph."""
        return {"__type": "core/ASSET", "info": {"id": self.id}}


@dataclass(frozen=True, slots=True)
class WorkflowAnswer:
    """The graph of a job, in API format."""

    workflow: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a gateway takes jobs and carries them out."""

    status: str
    backends: int
    backends_up: int
    paused: bool


def pick(kind: type[T], data: Any) -> T:
    """The dataclass with what the JSON has of its fields; what it does not know is left out.

    Raises NotComfyUIError where fields are missing: no gateway answers so.
    """
    if isinstance(data, Mapping):
        with suppress(TypeError):
            return kind(**{item.name: data[item.name] for item in fields(kind) if item.name in data})  # type: ignore[arg-type]
    raise NotComfyUIError(f"The answer is no {kind.__name__} as a gateway gives it.", hint=_HINT)


def items(data: Any, name: str) -> list[Any]:
    """The list of this name. Raises NotComfyUIError."""
    found = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(found, list):
        raise NotComfyUIError(f"The answer has no {name} as a gateway gives them.", hint=_HINT)
    return found


_HINT = "Check the address, and that client and gateway are of the same release."


def _all(kind: type[T], data: Any, name: str) -> tuple[T, ...]:
    return tuple(pick(kind, item) for item in items(data, name))
