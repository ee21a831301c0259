"""Masks: made, taken out of pictures, put back, combined, grown; transparency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator.call import NodeFunction
from comfyops.simulator.nodes.define import computed, grown
from comfyops.simulator.nodes.resize import scaled
from comfyops.simulator.values import check_size

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_CHANNELS = ("red", "green", "blue", "alpha")


def batched(mask: Array) -> Array:
    """A mask as a batch, also where it came as one picture [height, width]."""
    return mask.reshape(-1, *mask.shape[-2:])


def solid(value: float, width: int, height: int) -> Array:
    """SolidMask."""
    check_size(height, width)
    return np.full((1, height, width), value, dtype=np.float32)


def invert(mask: Array) -> Array:
    """InvertMask."""
    return 1 - mask


def crop(mask: Array, x: int, y: int, width: int, height: int) -> Array:
    """CropMask."""
    return batched(mask)[:, y : y + height, x : x + width]


def to_image(mask: Array) -> Array:
    """MaskToImage: grey pictures."""
    return np.repeat(batched(mask)[..., None], 3, axis=-1)


def from_image(image: Array, channel: str) -> Array:
    """ImageToMask: one channel as it is; a picture without alpha has none to give."""
    number = _CHANNELS.index(channel)
    if number >= image.shape[-1]:
        return np.ones(image.shape[:3], dtype=np.float32)
    return image[..., number]


def from_colour(image: Array, color: int) -> Array:
    """ImageColorToMask: 1 where the pixel has exactly this colour, 0xRRGGBB."""
    steps = np.round(np.clip(image[..., :3], 0, 1) * 255).astype(np.int64)
    packed = (steps[..., 0] << 16) + (steps[..., 1] << 8) + steps[..., 2]
    return np.where(packed == color, np.float32(1), np.float32(0))


def composite(destination: Array, source: Array, x: int, y: int, operation: str) -> Array:
    """MaskComposite: the source, with its corner at x, y, worked into the destination."""
    result = batched(destination).copy()
    patch = batched(source)
    bottom, right = min(y + patch.shape[1], result.shape[1]), min(x + patch.shape[2], result.shape[2])
    if bottom <= y or right <= x:
        return result
    patch = patch[:, : bottom - y, : right - x]
    area = result[:, y:bottom, x:right]
    result[:, y:bottom, x:right] = _worked(area, patch, operation)
    return np.clip(result, 0, 1)


def _worked(area: Array, patch: Array, operation: str) -> Any:
    on, under = np.round(patch).astype(bool), np.round(area).astype(bool)
    match operation:
        case "multiply":
            return area * patch
        case "add":
            return area + patch
        case "subtract":
            return area - patch
        case "and":
            return under & on
        case "or":
            return under | on
        case "xor":
            return under ^ on
    raise ValueError(f"Unknown operation: {operation}")


def feather(mask: Array, left: int, top: int, right: int, bottom: int) -> Array:
    """FeatherMask: fades in from each side over so many pixels; the first pixel keeps 1/n."""
    result = batched(mask).copy()
    rows, columns = result.shape[1:]
    left, right = min(left, columns), min(right, columns)
    top, bottom = min(top, rows), min(bottom, rows)
    for step in range(left):
        result[:, :, step] *= np.float32((step + 1) / left)
    for step in range(right):
        result[:, :, -1 - step] *= np.float32((step + 1) / right)
    for step in range(top):
        result[:, step] *= np.float32((step + 1) / top)
    for step in range(bottom):
        result[:, -1 - step] *= np.float32((step + 1) / bottom)
    return result


def grow(mask: Array, expand: int, tapered_corners: bool) -> Array:
    """GrowMask: so many pixels wider, or narrower for a negative number; tapered grows like a plus sign."""
    result = batched(mask)
    for _ in range(abs(expand)):
        result = _neighbours(result, np.maximum if expand > 0 else np.minimum, corners=not tapered_corners)
    return result


def _neighbours(mask: Array, pick: Any, *, corners: bool) -> Array:
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows, columns = mask.shape[1:]
    result = mask
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if corners or dy == 1 or dx == 1:
                result = pick(result, padded[:, dy : dy + rows, dx : dx + columns])
    return np.asarray(result, dtype=np.float32)


def threshold(mask: Array, value: float) -> Array:
    """ThresholdMask: 1 above the value, else 0."""
    return (mask > value).astype(np.float32)


def batch_masks(masks: Mapping[str, Array]) -> Array:
    """BatchMasksNode: in the size of the first."""
    items = [batched(mask) for mask in grown(masks)]
    height, width = items[0].shape[1:]
    return np.concatenate([scaled(mask, width, height, "bilinear", "center") for mask in items])


def join_alpha(image: Array, alpha: Array) -> Array:
    """JoinImageWithAlpha: transparent where the mask is 1."""
    count = max(len(image), len(batched(alpha)))
    opaque = 1 - scaled(batched(alpha), image.shape[2], image.shape[1])
    pictures = image[np.arange(count) % len(image), ..., :3]
    return np.concatenate([pictures, opaque[np.arange(count) % len(opaque)][..., None]], axis=-1)


def split_alpha(image: Array) -> tuple[Array, Array]:
    """SplitImageWithAlpha: the colours, and a mask that is 1 where transparent."""
    alpha = image[..., 3] if image.shape[-1] > 3 else np.ones(image.shape[:3], dtype=np.float32)
    return image[..., :3], 1 - alpha


def composite_masked(
    destination: Array, source: Array, x: int, y: int, resize_source: bool = False, mask: Array | None = None
) -> Array:
    """ImageCompositeMasked: the source laid over the destination with its corner at x, y, where the mask is 1."""
    result = destination.copy()
    rows, columns = destination.shape[1:3]
    source = source[..., : destination.shape[-1]]
    if source.shape[-1] < destination.shape[-1]:
        source = np.pad(source, ((0, 0),) * 3 + ((0, 1),), constant_values=1.0)
    if resize_source:
        source = scaled(source, columns, rows)
    source = source[np.arange(len(result)) % len(source)]
    x, y = max(-source.shape[2], min(x, columns)), max(-source.shape[1], min(y, rows))
    cover: Array = np.ones(source.shape[:3], dtype=np.float32)
    if mask is not None:
        fitted = scaled(batched(mask), source.shape[2], source.shape[1])
        cover = fitted[np.arange(len(result)) % len(fitted)]
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + source.shape[2], columns), min(y + source.shape[1], rows)
    patch = source[:, top - y : bottom - y, left - x : right - x]
    share = cover[:, top - y : bottom - y, left - x : right - x, None]
    result[:, top:bottom, left:right] = share * patch + (1 - share) * result[:, top:bottom, left:right]
    return result


NODES: dict[str, NodeFunction] = {
    "SolidMask": computed(solid),
    "InvertMask": computed(invert),
    "CropMask": computed(crop),
    "MaskToImage": computed(to_image),
    "ImageToMask": computed(from_image),
    "ImageColorToMask": computed(from_colour),
    "MaskComposite": computed(composite),
    "FeatherMask": computed(feather),
    "GrowMask": computed(grow),
    "ThresholdMask": computed(threshold),
    "BatchMasksNode": computed(batch_masks),
    "JoinImageWithAlpha": computed(join_alpha),
    "SplitImageWithAlpha": computed(split_alpha),
    "ImageCompositeMasked": computed(composite_masked),
}
