"""Pictures to files and to the client: saved, previewed, animated, sent by websocket; texts to files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.images import crop_region as cropped
from comfyops.simulator.nodes.places import metadata, place_for, temp_prefix
from comfyops.simulator.values import frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_METHODS = {"default": 4, "fastest": 0, "slowest": 6}


def passed_on(call: NodeCall, value: Any, ui: Mapping[str, Any]) -> NodeResult:
    """The result of an output node: newer servers pass its input on, older ones have no output."""
    return NodeResult((value,) * min(len(call.node_type.outputs), 1), ui)


def written(
    call: NodeCall, images: Array, prefix: str, *, temporary: bool = False, tail: str = "_"
) -> list[dict[str, str]]:
    """Write a batch as PNG files; what ComfyUI says of each."""
    height, width = images.shape[1:3]
    place = place_for(call, prefix, width, height, temporary=temporary)
    texts = metadata(call)
    level = 1 if temporary else 4
    files = (media.png(picture, texts, level) for picture in images)
    return [place.write(data, "png", index, tail=tail) for index, data in enumerate(files)]


def save_image(call: NodeCall, images: Array, filename_prefix: str = "ComfyUI") -> NodeResult:
    """SaveImage."""
    return passed_on(call, images, {"images": written(call, images, filename_prefix)})


def preview_image(call: NodeCall, images: Array) -> NodeResult:
    """PreviewImage."""
    return passed_on(call, images, {"images": written(call, images, temp_prefix(), temporary=True)})


def preview_mask(call: NodeCall, mask: Array) -> NodeResult:
    """MaskPreview."""
    pictures = np.repeat(mask[..., None], 3, axis=-1)
    shown = {"images": written(call, pictures, temp_prefix(), temporary=True), "animated": (False,)}
    return passed_on(call, mask, shown)


def crop_and_show(call: NodeCall, image: Array, crop_region: Mapping[str, int]) -> NodeResult:
    """ImageCropV2: no output node, and yet it shows what it cut out."""
    picture = cropped(image, crop_region)
    shown = {"images": written(call, picture, temp_prefix(), temporary=True), "animated": (False,)}
    return NodeResult((frozen_array(picture),), shown)


def compare(call: NodeCall, image_a: Array | None = None, image_b: Array | None = None) -> NodeResult:
    """ImageCompare."""
    ui = {
        name: written(call, images, temp_prefix(f"comfy.compare.{name[0]}"), temporary=True)
        for name, images in (("a_images", image_a), ("b_images", image_b))
        if images is not None
    }
    return NodeResult((), ui)


def save_image_advanced(call: NodeCall, images: Array, filename_prefix: str, format: Mapping[str, Any]) -> NodeResult:
    """SaveImageAdvanced: 8 bit PNG, whatever depth and format are asked for."""
    return passed_on(call, images, {"images": written(call, images, filename_prefix, tail="")})


def save_animated_webp(
    call: NodeCall, images: Array, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
) -> NodeResult:
    """SaveAnimatedWEBP."""
    data = media.animated_webp(
        images, fps, metadata(call), lossless=lossless, quality=quality, method=_METHODS.get(method, 4)
    )
    return _animation(call, images, filename_prefix, data, "webp")


def save_animated_png(
    call: NodeCall, images: Array, filename_prefix: str, fps: float, compress_level: int
) -> NodeResult:
    """SaveAnimatedPNG."""
    data = media.animated_png(images, fps, metadata(call), compress_level)
    return _animation(call, images, filename_prefix, data, "png")


def _animation(call: NodeCall, images: Array, prefix: str, data: bytes, extension: str) -> NodeResult:
    place = place_for(call, prefix, images.shape[2], images.shape[1])
    ui: dict[str, Any] = {"images": [place.write(data, extension)]}
    return passed_on(call, images, ui | {"animated": (True,)} if len(images) != 1 else ui)


async def send_by_websocket(call: NodeCall) -> NodeResult:
    """SaveImageWebsocket: the pictures go to the client and leave no trace in the history."""
    images = call.inputs["images"]
    for index, picture in enumerate(images):
        await call.host.progress(index, len(images), await asyncio.to_thread(media.png, picture))
    return NodeResult()


def save_text(call: NodeCall, text: str, filename_prefix: str, format: str = "txt") -> NodeResult:
    """SaveText."""
    body = json.dumps(text, ensure_ascii=False) if format == "json" and not _is_json(text) else text
    entry = place_for(call, filename_prefix).write(body.encode(), format, tail="")
    return passed_on(call, text, {"text": [text], "files": [entry]})


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


NODES: dict[str, NodeFunction] = {
    "SaveImage": computed(save_image),
    "PreviewImage": computed(preview_image),
    "MaskPreview": computed(preview_mask),
    "ImageCropV2": computed(crop_and_show),
    "ImageCompare": computed(compare),
    "SaveImageAdvanced": computed(save_image_advanced),
    "SaveAnimatedWEBP": computed(save_animated_webp),
    "SaveAnimatedPNG": computed(save_animated_png),
    "SaveImageWebsocket": send_by_websocket,
    "SaveText": computed(save_text),
}
