"""What somebody wants made, and what came of it, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from comfyops.errors import UsageError
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.frames import Frames
from comfyops.execution.masks import MaskOptions, Picture
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.recipes import Lora


class Quality(StrEnum):
    """How much time a result may take."""

    FAST = "fast"
    BALANCED = "balanced"
    QUALITY = "quality"


class Engine(StrEnum):
    """What made a result. Nothing is simulated without saying so."""

    COMFYUI = "comfyui"
    SIMULATOR = "simulator"
    LOCAL = "local"


Video = Path | tuple[Picture, ...]
"""A video: a file, or its frames."""


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to make. `capabilities` are what is asked for, as Capability or its name; all must be served by one recipe.

    Sizes are pixels, `fps` frames per second; None leaves a value to the recipe, for `seed` it draws one. `images` are
    pictures to start from, edit or be guided by; `mask` and `masks` (one for each frame of `video`) are white where
    something is to change. `family` and `recipe` narrow the choice. `alpha` says how an alpha matte is made where
    ALPHA_VIDEO is asked for; `alpha_level` is the level of THRESHOLD, from 0 to 1. `priority` puts the run in front.
    """

    capabilities: tuple[Capability, ...]
    prompt: str = ""
    negative: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    steps: int | None = None
    cfg: float | None = None
    strength: float | None = None
    images: tuple[Picture, ...] = ()
    mask: Picture | None = None
    masks: tuple[Picture, ...] = ()
    mask_options: MaskOptions = field(default_factory=MaskOptions)
    video: Video | None = None
    quality: Quality = Quality.BALANCED
    family: str = ""
    recipe: str = ""
    loras: tuple[Lora, ...] = ()
    model: str = ""
    control: str = ""
    guide: str = ""
    layers: int | None = None
    seconds: float | None = None
    alpha: AlphaMode = AlphaMode.MODEL
    alpha_level: float = 0.5
    priority: bool = False
    timeout: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "capabilities", _capabilities(self))
        if not self.capabilities and not self.recipe:
            raise UsageError("Nothing is asked for.", hint="Name a capability, such as TEXT_TO_IMAGE, or a recipe.")
        for name in ("images", "masks", "mask", "video"):
            object.__setattr__(self, name, _files(getattr(self, name)))
        object.__setattr__(self, "loras", tuple(self.loras))
        object.__setattr__(self, "quality", _member(Quality, self.quality, "quality"))
        object.__setattr__(self, "alpha", _member(AlphaMode, self.alpha, "alpha mode"))


def _files(given: Any) -> Any:
    """Names of files as paths, lists as tuples."""
    if isinstance(given, list | tuple):
        return tuple(_files(item) for item in given)
    return Path(given) if isinstance(given, str) else given


def _capabilities(request: GenerationRequest) -> tuple[Capability, ...]:
    """The capabilities; INPAINTING of a video is VIDEO_INPAINTING."""
    given: Any = request.capabilities
    names = (given,) if isinstance(given, str) else tuple(given)
    found = [_member(Capability, name, "capability") for name in names]
    if request.video is not None:
        found = [Capability.VIDEO_INPAINTING if item is Capability.INPAINTING else item for item in found]
    return tuple(dict.fromkeys(found))


def _member(kind: type[StrEnum], value: Any, what: str) -> Any:
    try:
        return kind(str(value).lower())
    except ValueError:
        known = ", ".join(item.value for item in kind)
        raise UsageError(f"There is no {what} {value!r}.", hint=f"There are {known}.") from None


@dataclass(frozen=True, slots=True)
class Refused:
    """A recipe that was not taken, and why."""

    recipe: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class GenerationResult:
    """What was made. `outputs` are the files, `frames` their pictures decoded when asked for.

    `alphas` are the frames' alpha mattes (white = visible) where they were asked for. `seconds` is how long it took.
    `provenance` says how it was made, so that it can be made again; it lies beside the first output as JSON too.
    """

    recipe: str
    engine: Engine
    outputs: tuple[Path, ...]
    frames: Frames
    seed: int
    fps: float | None
    seconds: float
    alphas: Frames | None = None
    warnings: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is something to show."""
        return bool(self.outputs)

    @property
    def simulated(self) -> bool:
        """Whether the simulator made it, not a model."""
        return self.engine is Engine.SIMULATOR
