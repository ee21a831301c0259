"""StoryCore's parameters as a request to the engines: their names, their pictures in any form, what is not used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image

from comfyops.errors import ComfyOpsError
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.generation import GenerationRequest, Quality, Video
from comfyops.execution.masks import MaskOptions, Picture
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowValidationError
from comfyops.workflows.capabilities import Capability

_NUMBERS: Mapping[str, tuple[str, type[int] | type[float]]] = {
    "num_frames": ("frames", int),
    "steps": ("steps", int),
    "fps": ("fps", float),
    "cfg_scale": ("cfg", float),
    "strength": ("strength", float),
    "seconds": ("seconds", float),
}
"""StoryCore's name -> the engines' name and type."""

_READ = frozenset(
    (
        *("prompt", "negative_prompt", "seed", "width", "height", "images", "keyframes", "conditioning_image"),
        *("video", "video_frames", "mask", "masks", "mask_blur", "mask_feather", "mask_invert", "use_multi_stage"),
        *("alpha_mode", "alpha_threshold", "recipe", "model", "resilient", "workflow"),
    )
)

RANDOM_SEED = -1
"""StoryCore's seed that stands for any; the drawn one is in the result."""


def generation_request(request: WorkflowRequest, family: str = "") -> GenerationRequest:
    """The request for the engines, of one family of recipes where it is named.

    Raises WorkflowValidationError for a parameter that is no number where one is needed, or no picture, mask or video.
    """
    given = request.parameters
    numbers = {name: _number(key, given.get(key), kind) for key, (name, kind) in _NUMBERS.items()}
    width, height = request.size()
    numbers |= {"width": _number("width", width, int), "height": _number("height", height, int)}
    video = given.get("video", given.get("video_frames"))
    seed = _number("seed", given.get("seed"), int)
    mask = given.get("mask") if request.mask is None else request.mask
    level = _number("alpha_threshold", given.get("alpha_threshold"), float)
    masks = given.get("masks")
    return GenerationRequest(
        capabilities=request.needs(),
        prompt=request.prompt,
        negative=given.get("negative_prompt"),
        seed=None if seed == RANDOM_SEED else seed,
        images=pictures_of(request),
        mask=None if mask is None else picture(mask),
        masks=tuple(picture(item) for item in masks) if masks is not None else (),
        mask_options=_mask_options(given),
        video=None if video is None else video_of(video),
        quality=Quality(request.quality_mode),
        family=family,
        recipe=str(given.get("recipe") or ""),
        model=str(given.get("model") or ""),
        alpha=given.get("alpha_mode") or AlphaMode.MODEL,
        alpha_level=0.5 if level is None else level,
        priority=request.priority >= 9,
        **numbers,
    )


def unused(request: WorkflowRequest) -> list[str]:
    """A remark on each parameter that means nothing to the engines, with the nearest name that does."""
    known = sorted(_READ | set(_NUMBERS))
    remarks = [] if request.output_format == "default" else ["The output_format is not used: the recipe has its own."]
    for name in request.parameters:
        if name not in known:
            near = get_close_matches(name, known, 1)
            remarks.append(f"The parameter {name} is not used{f'; did you mean {near[0]}?' if near else '.'}")
    return remarks


def pictures_of(request: WorkflowRequest) -> tuple[Picture, ...]:
    """The pictures to start from: `input_image`, then those of the parameters, then `reference_images`."""
    given = request.parameters
    first = request.input_image if request.input_image is not None else given.get("conditioning_image")
    found: list[Any] = [] if first is None else [first]
    found += [*_listed(given.get("keyframes", given.get("images"))), *request.reference_images]
    return tuple(picture(item) for item in found)


def picture(value: Any) -> Picture:
    """A picture or mask given as a path, a Pillow picture, or an array (rows, columns[, channels]).

    Numbers of an array go to 255, truth values and fractions to 1. Raises WorkflowValidationError.
    """
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, str | Path):
        return Path(value)
    if hasattr(value, "__array_interface__"):
        return _of_array(value)
    raise WorkflowValidationError("", f"A picture is a path, a Pillow picture or an array, not {type(value).__name__}.")


def video_of(value: Any) -> Video:
    """A video given as a path or as its frames. Raises WorkflowValidationError."""
    if isinstance(value, str | Path):
        return Path(value)
    if not isinstance(value, Iterable) or isinstance(value, Image.Image):
        raise WorkflowValidationError("", f"A video is a path or its frames, not {type(value).__name__}.")
    frames = tuple(picture(item) for item in value)
    if not frames:
        raise WorkflowValidationError("", "The video has no frames.")
    return frames


def _of_array(value: Any) -> Image.Image:
    from comfyops.execution import extras

    np = extras.numpy()
    array = np.asarray(value)
    if array.dtype == bool or array.dtype.kind == "f":
        array = np.clip(array.astype(float) * 255, 0, 255).round()
    try:
        if array.ndim not in (2, 3):
            raise ValueError(array.shape)
        return Image.fromarray(array.astype(np.uint8))
    except (TypeError, ValueError) as error:
        raise WorkflowValidationError("", f"An array of shape {array.shape} is no picture.") from error


def _mask_options(given: Mapping[str, Any]) -> MaskOptions:
    blur = _number("mask_blur", given.get("mask_blur"), float) or 0.0
    feather = _number("mask_feather", given.get("mask_feather"), int) or 0
    return MaskOptions(blur, feather, bool(given.get("mask_invert", False)))


def _number(name: str, value: Any, kind: type[int] | type[float]) -> Any:
    if value is None:
        return None
    try:
        number = kind(value)
        if isinstance(value, bool) or number != float(value):
            raise ValueError(value)
        return number
    except (TypeError, ValueError, OverflowError):
        words = "a whole number" if kind is int else "a number"
        raise WorkflowValidationError("", f"The parameter {name} is {words}, not {value!r}.") from None


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else [value]


def checked(request: WorkflowRequest) -> str:
    """Why the engines cannot take a request, "" where they can."""
    try:
        wish = generation_request(request)
    except ComfyOpsError as error:
        return error.message
    needs_words = {Capability.TEXT_TO_VIDEO, Capability.ALPHA_VIDEO, Capability.VIDEO_INPAINTING}
    if not request.prompt and needs_words & set(wish.capabilities):
        return "The request has no prompt."
    return ""
