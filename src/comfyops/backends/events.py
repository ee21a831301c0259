"""What happens during a run, as values. `messages` makes them from ComfyUI's websocket frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class OutputKind(StrEnum):
    """What an output is, told from where it stands and from its file name."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    LATENT = "latent"
    MODEL_3D = "3d"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a run: a file on the server, or a text in `text` (then the other fields are empty).

    `folder_type` is "output", "temp" (previews; wiped when the server starts) or "input". `node` is the node's id.
    """

    node: str
    kind: OutputKind
    filename: str = ""
    subfolder: str = ""
    folder_type: str = "output"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """The server took the job; `number` is its place in the order."""

    run_id: str
    number: float


@dataclass(frozen=True, slots=True)
class Started:
    """The run began."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Cached:
    """These nodes are answered from the server's cache."""

    run_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node began."""

    run_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A node reached `value` of `maximum` steps."""

    run_id: str
    node: str
    value: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of the unfinished result ("" = the server did not say which node's), as JPEG or PNG bytes."""

    run_id: str
    node: str
    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node with visible outputs finished."""

    run_id: str
    node: str
    outputs: tuple[Output, ...]


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node failed, in the server's words."""

    node: str
    class_type: str
    exception_type: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over and the server's history has it. A failed run may hold outputs of nodes that finished before.

    `cached` tells that no node ran at all: the outputs are those of an earlier run. Times are seconds since the epoch by
    the server's clock, None where it did not say.
    """

    run_id: str
    outcome: Outcome
    outputs: tuple[Output, ...]
    cached: bool = False
    failure: Failure | None = None
    started_at: float | None = None
    finished_at: float | None = None


Event = Queued | Started | Cached | NodeStarted | Progress | Preview | NodeFinished | Finished
