"""What happens during a run, as values. `messages` makes them from ComfyUI's websocket frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


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
class NodeFault:
    """Why a server refuses a node, in its words.

    `code` is its type of error, `input` the input's name ("" = the whole node), `outputs` are the ids of the
    output nodes that cannot run because of it.
    """

    node: str
    class_type: str
    code: str
    message: str
    details: str = ""
    input: str = ""
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """The server took the job; `number` is its place in the order.

    A server takes a job as soon as one output node is good. `faults` then tells what is wrong with the others, and
    `dropped_outputs` which output nodes will not run; both are empty for a job that was taken whole.
    """

    run_id: str
    number: float
    faults: tuple[NodeFault, ...] = ()
    dropped_outputs: tuple[str, ...] = ()


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
    """A picture of the unfinished result ("" = the server did not say which node's), as JPEG or PNG bytes.

    SaveImageWebsocket sends its finished pictures this way too, as PNG, and nowhere else: Finished does not have them.
    """

    run_id: str
    node: str
    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeText:
    """A node tells something in words while it runs."""

    run_id: str
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node with visible outputs finished. `shown` is all that it shows, as the server says it, by key."""

    run_id: str
    node: str
    outputs: tuple[Output, ...]
    shown: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False)


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

    `cached` tells that no node ran at all: the outputs are those of an earlier run. Times are seconds since the epoch
    by the server's clock, None where it did not say.
    """

    run_id: str
    outcome: Outcome
    outputs: tuple[Output, ...]
    cached: bool = False
    failure: Failure | None = None
    started_at: float | None = None
    finished_at: float | None = None


Event = Queued | Started | Cached | NodeStarted | Progress | Preview | NodeText | NodeFinished | Finished
