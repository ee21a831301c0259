"""Pictures and videos laid over one another, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops

from comfyops.execution import masks
from comfyops.storycore.generation_requests import picture
from comfyops.storycore.workflow_values import WorkflowValidationError

_BLENDS: dict[str, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "normal": lambda below, above: above,
    "linear": lambda below, above: above,
    "multiply": ImageChops.multiply,
    "screen": ImageChops.screen,
    "overlay": ImageChops.overlay,
}


@dataclass
class CompositeLayer:
    """One layer: frames, one alpha mask for each (white = visible), how it is blended, its opacity from 0 to 1, and
    where its left upper corner lies. Frames with an alpha channel of their own need no masks.
    """

    video_frames: Sequence[Any]
    alpha_channel: Sequence[Any] | None = None
    blend_mode: str = "normal"
    opacity: float = 1.0
    offset_x: int = 0
    offset_y: int = 0


@dataclass
class DualImageGuidance:
    """A picture to follow, a second one for its style, how strongly each counts (0 to 1), and how they are blended."""

    reference_image: Any
    style_image: Any = None
    reference_strength: float = 0.8
    style_strength: float = 0.5
    blend_mode: str = "linear"


def composite(layers: Sequence[CompositeLayer]) -> list[Image.Image]:
    """The layers over one another, the first at the bottom, as long and as large as the first; a shorter layer holds
    its last frame. Nothing given is changed.

    Raises WorkflowValidationError for a layer that cannot be.
    """
    if not layers or not layers[0].video_frames:
        raise WorkflowValidationError("", "There is no layer with frames.")
    for layer in layers:
        _check(layer)
    count = len(layers[0].video_frames)
    size = _frame(layers[0], 0).size
    result = []
    for number in range(count):
        canvas = Image.new("RGBA", size, (0, 0, 0, 0))
        for layer in layers:
            canvas = _laid(canvas, layer, min(number, len(layer.video_frames) - 1))
        result.append(canvas)
    return result


def blended(guidance: DualImageGuidance) -> Image.Image:
    """The picture that both guide: the style laid over the reference, by its share of both strengths.

    Raises WorkflowValidationError, InputError for a picture that cannot be read.
    """
    blend = _blend(guidance.blend_mode)
    strengths = (guidance.reference_strength, guidance.style_strength)
    if not all(0 <= strength <= 1 for strength in strengths):
        raise WorkflowValidationError("", "The strengths of the pictures are between 0 and 1.")
    reference = masks.opened(picture(guidance.reference_image)).convert("RGB")
    if guidance.style_image is None or not sum(strengths):
        return reference
    style = masks.opened(picture(guidance.style_image)).convert("RGB").resize(reference.size)
    return Image.blend(reference, blend(reference, style), strengths[1] / sum(strengths))


def _check(layer: CompositeLayer) -> None:
    _blend(layer.blend_mode)
    if not 0 <= layer.opacity <= 1:
        raise WorkflowValidationError("", f"An opacity is between 0 and 1, not {layer.opacity}.")
    if not layer.video_frames:
        raise WorkflowValidationError("", "A layer has no frames.")
    if layer.alpha_channel is not None and len(layer.alpha_channel) != len(layer.video_frames):
        counts = f"{len(layer.alpha_channel)} alpha masks for {len(layer.video_frames)} frames"
        raise WorkflowValidationError("", f"A layer has {counts}.")


def _blend(mode: str) -> Callable[[Image.Image, Image.Image], Image.Image]:
    if mode not in _BLENDS:
        raise WorkflowValidationError("", f"There is no blend mode {mode!r}: it is one of {', '.join(_BLENDS)}.")
    return _BLENDS[mode]


def _frame(layer: CompositeLayer, number: int) -> Image.Image:
    return masks.opened(picture(layer.video_frames[number]), "frame")


def _laid(canvas: Image.Image, layer: CompositeLayer, number: int) -> Image.Image:
    """The canvas with one frame of a layer over it."""
    frame = _frame(layer, number).convert("RGBA")
    alpha = frame.getchannel("A")
    if layer.alpha_channel is not None:
        given = masks.opened(picture(layer.alpha_channel[number]), "mask").convert("L").resize(frame.size)
        alpha = ImageChops.multiply(alpha, given)
    alpha = alpha.point([round(value * layer.opacity) for value in range(256)])
    placed = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    placed.paste(frame, (layer.offset_x, layer.offset_y))
    visible = Image.new("L", canvas.size, 0)
    visible.paste(alpha, (layer.offset_x, layer.offset_y))
    mixed = _blend(layer.blend_mode)(canvas.convert("RGB"), placed.convert("RGB"))
    above = Image.composite(mixed, placed.convert("RGB"), canvas.getchannel("A"))
    above.putalpha(visible)
    return Image.alpha_composite(canvas, above)
