"""What is asked of an advanced workflow and what it gives: capabilities, requests, results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from PIL.Image import Image

from comfyops.errors import InputError
from comfyops.workflows.capabilities import Capability

QUALITY_MODES = ("fast", "balanced", "quality")


class WorkflowValidationError(InputError):
    """A request that no workflow can take; `workflow_name` is "" where none was chosen yet."""

    code = "workflow_request"
    hint = "See the fields of WorkflowRequest in docs/storycore.md."

    def __init__(self, workflow_name: str, message: str, request: WorkflowRequest | None = None, **facts: Any) -> None:
        super().__init__(message, workflow=workflow_name, **facts)
        self.workflow_name = workflow_name
        self.request = request


class WorkflowType(StrEnum):
    """What a workflow makes."""

    VIDEO = "video"
    IMAGE = "image"

    @classmethod
    def of(cls, value: WorkflowType | str) -> WorkflowType:
        """The type with this name, in any case. Raises WorkflowValidationError."""
        try:
            return cls(str(value).strip().lower())
        except ValueError:
            raise WorkflowValidationError("", f"A workflow is of type video or image, not {value!r}.") from None


WorkflowCapability = Capability
"""What a workflow can do; StoryCore's name for it."""


def to_capability(value: Capability | str, workflow_type: WorkflowType = WorkflowType.VIDEO) -> Capability:
    """The capability with this name, in any case; INPAINTING of a video is VIDEO_INPAINTING.

    Raises WorkflowValidationError.
    """
    word = str(value).strip().lower()
    if word not in set(Capability):
        near = get_close_matches(word, list(Capability), 1)
        more = f"; did you mean {near[0].upper()}?" if near else "."
        raise WorkflowValidationError("", f"There is no capability {value!r}{more}")
    found = Capability(word)
    if found is Capability.INPAINTING and workflow_type is WorkflowType.VIDEO:
        return Capability.VIDEO_INPAINTING
    return found


@dataclass
class WorkflowRequest:
    """What is wanted.

    `capabilities` and `capabilities_required` are two names of one list, as text or enum. `prompt` may stand in
    `parameters` instead; other parameters are negative_prompt, width, height, num_frames, fps, steps, cfg_scale, seed,
    sampler, scheduler, and those of docs/storycore.md. `priority` is 1 to 10: a higher one is served before those that
    wait, 9 and 10 also before what waits in the server's queue. `max_inference_time` is in seconds from when its turn
    has come. `output_resolution` is (width, height). `output_format` is not used: each recipe has its own. `resilient`
    allows a smaller result where the asked one fails.

    Raises WorkflowValidationError for values that cannot be.
    """

    prompt: str = ""
    workflow_type: WorkflowType | str = WorkflowType.VIDEO
    capabilities_required: list[Any] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    priority: int = 5
    input_image: Any = None
    reference_images: list[Any] = field(default_factory=list)
    mask: Any = None
    quality_mode: str = "balanced"
    max_inference_time: float | None = None
    output_resolution: tuple[int, int] | None = None
    output_format: str = "default"
    capabilities: Iterable[Any] | None = None
    resilient: bool = False

    def __post_init__(self) -> None:
        self.workflow_type = WorkflowType.of(self.workflow_type)
        wrong = _problem(self)
        if wrong:
            raise WorkflowValidationError("", wrong, self)
        wanted = [*_listed(self.capabilities_required), *_listed(self.capabilities)]
        self.capabilities_required = list(dict.fromkeys(to_capability(item, self.workflow_type) for item in wanted))
        self.capabilities = self.capabilities_required
        self.reference_images = list(_listed(self.reference_images))
        self.prompt = self.prompt or str(self.parameters.get("prompt") or "")
        self.resilient = self.resilient or bool(self.parameters.get("resilient", False))

    @property
    def kind(self) -> WorkflowType:
        """The workflow type as an enum."""
        return WorkflowType.of(self.workflow_type)

    def needs(self) -> tuple[Capability, ...]:
        """What it asks for; without any capability, plain generation of its type."""
        if self.capabilities_required:
            return tuple(to_capability(item, self.kind) for item in self.capabilities_required)
        video = WorkflowCapability.IMAGE_TO_VIDEO if self.input_image is not None else WorkflowCapability.TEXT_TO_VIDEO
        return (video if self.kind is WorkflowType.VIDEO else WorkflowCapability.TEXT_TO_IMAGE,)

    def size(self) -> tuple[int | None, int | None]:
        """(width, height): `output_resolution`, else the parameters; None where not given."""
        if self.output_resolution:
            return self.output_resolution
        return self.parameters.get("width"), self.parameters.get("height")


@dataclass
class WorkflowResult:
    """How it ended. `frames` are pictures, decoded when they are asked for, `alpha_masks` their transparency as grey
    pictures where it was asked for (white = visible); `execution_time` is in seconds.

    `memory_used` is the server's video memory in use at the end, in GB. `metadata["engine"]` says what made the result,
    `metadata["simulated"]` whether that was a simulator.
    """

    success: bool
    output_path: str | None = None
    output_paths: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    error_message: str | None = None
    execution_time: float = 0.0
    memory_used: float = 0.0
    quality_metrics: dict[str, float] = field(default_factory=dict)
    frames: Sequence[Image] = ()
    alpha_masks: Sequence[Image] = ()


@dataclass(frozen=True)
class WorkflowCapabilityScore:
    """How well a workflow suits a request, 0 to 1; `confidence` tells how far that was measured."""

    workflow_name: str
    capability: WorkflowCapability
    score: float
    confidence: float
    reasoning: str = ""


def _problem(request: WorkflowRequest) -> str:
    """What is wrong with the fields of a request, "" where nothing is."""
    if not isinstance(request.prompt, str):
        return f"A prompt is text, not {type(request.prompt).__name__}."
    if not isinstance(request.parameters, Mapping):
        return f"The parameters are names with values, not {type(request.parameters).__name__}."
    if type(request.priority) is not int or not 1 <= request.priority <= 10:
        return f"A priority is a whole number between 1 and 10, not {request.priority!r}."
    if request.quality_mode not in QUALITY_MODES:
        return f"quality_mode is one of {', '.join(QUALITY_MODES)}, not {request.quality_mode!r}."
    limit = request.max_inference_time
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        return f"max_inference_time is more than 0 seconds, not {limit!r}."
    size = request.output_resolution
    if size is not None and not (isinstance(size, Sequence) and [type(side) for side in size] == [int, int]):
        return f"output_resolution is (width, height), not {size!r}."
    return ""


def _listed(value: Any) -> Iterable[Any]:
    """The items of a list, or the one thing that is no list; nothing for None."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple | set | frozenset) else (value,)
