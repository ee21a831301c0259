"""Pictures in and out of batches: empty ones, sizes, scaling, cropping, turning, joining."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator.call import NodeFunction
from comfyops.simulator.nodes.define import computed, grown, listed
from comfyops.simulator.nodes.resize import scaled
from comfyops.simulator.values import check_size

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_COLOURS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}


def same_channels(*images: Array) -> list[Array]:
    """The pictures, each with as many channels as the richest of them; what is added is opaque."""
    most = max(image.shape[-1] for image in images)
    return [
        np.pad(image, ((0, 0), (0, 0), (0, 0), (0, most - image.shape[-1])), constant_values=1.0) for image in images
    ]


def joined(images: list[Array]) -> Array:
    """One batch of all pictures, in the size of the first."""
    height, width = images[0].shape[1:3]
    fitted = [scaled(image, width, height, "bilinear", "center") for image in images]
    return np.concatenate(same_channels(*fitted))


def empty_image(width: int, height: int, batch_size: int = 1, color: int = 0) -> Array:
    """Pictures of one colour, 0xRRGGBB."""
    check_size(batch_size, height, width, 3)
    parts = [(color >> shift & 0xFF) / 255 for shift in (16, 8, 0)]
    return np.full((batch_size, height, width, 3), np.asarray(parts, dtype=np.float32))


def image_scale(image: Array, upscale_method: str, width: int, height: int, crop: str) -> Array:
    """ImageScale: a width or height of 0 follows from the other; both 0 change nothing."""
    rows, columns = image.shape[1:3]
    if width == 0 and height == 0:
        return image
    width = width or max(1, round(columns * height / rows))
    height = height or max(1, round(rows * width / columns))
    return scaled(image, width, height, upscale_method, crop)


def image_scale_by(image: Array, upscale_method: str, scale_by: float) -> Array:
    """ImageScaleBy."""
    return scaled(image, round(image.shape[2] * scale_by), round(image.shape[1] * scale_by), upscale_method)


def to_megapixels(image: Array, upscale_method: str, megapixels: float, resolution_steps: int = 1) -> Array:
    """ImageScaleToTotalPixels: 1 megapixel is 1024 x 1024; sizes are multiples of `resolution_steps`."""
    factor = (megapixels * 1024 * 1024 / (image.shape[1] * image.shape[2])) ** 0.5
    width = round(image.shape[2] * factor / resolution_steps) * resolution_steps
    height = round(image.shape[1] * factor / resolution_steps) * resolution_steps
    return scaled(image, int(width), int(height), upscale_method)


def to_longest(image: Array, upscale_method: str, largest_size: int) -> Array:
    """ImageScaleToMaxDimension."""
    rows, columns = image.shape[1:3]
    factor = largest_size / max(rows, columns)
    return scaled(image, max(round(columns * factor), 1), max(round(rows * factor), 1), upscale_method)


def by_longer_edge(images: Array, longer_edge: int) -> Array:
    """ResizeImagesByLongerEdge."""
    return _by_edge(images, longer_edge, max)


def by_shorter_edge(images: Array, shorter_edge: int) -> Array:
    """ResizeImagesByShorterEdge."""
    return _by_edge(images, shorter_edge, min)


def _by_edge(images: Array, edge: int, chosen: Any) -> Array:
    rows, columns = images.shape[1:3]
    whole = chosen(rows, columns)
    return scaled(images, max(columns * edge // whole, 1), max(rows * edge // whole, 1), "lanczos")


def kontext_scale(image: Array) -> Array:
    """FluxKontextImageScale: the nearest in shape of the sizes that this model was trained on."""
    sides = ((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104))
    sizes = [*sides, (1024, 1024), *((b, a) for a, b in reversed(sides))]
    shape = image.shape[2] / image.shape[1]
    width, height = min(sizes, key=lambda size: abs(shape - size[0] / size[1]))
    return scaled(image, width, height, "lanczos", "center")


def resize_either(input: Array, resize_type: Mapping[str, Any], scale_method: str = "area") -> Array:
    """ResizeImageMaskNode: pictures or masks, by one of several rules."""
    rows, columns = input.shape[1:3]
    width, height = _wanted_size(resize_type, columns, rows)
    if resize_type.get("resize_type") == "scale to multiple":
        return _covering(input, width, height, scale_method)
    crop = str(resize_type.get("crop", "disabled"))
    return scaled(input, max(width, 1), max(height, 1), scale_method, crop)


def _covering(image: Array, width: int, height: int, method: str) -> Array:
    """Scaled until it covers the wanted size, then cut to it in the middle."""
    rows, columns = image.shape[1:3]
    factor = max(width / columns, height / rows)
    wide, tall = max(math.ceil(columns * factor), width), max(math.ceil(rows * factor), height)
    large = scaled(image, wide, tall, method)
    top, left = (tall - height) // 2, (wide - width) // 2
    return large[:, top : top + height, left : left + width]


def _wanted_size(rule: Mapping[str, Any], columns: int, rows: int) -> tuple[int, int]:
    match rule.get("resize_type"):
        case "scale dimensions":
            width, height = int(rule["width"]), int(rule["height"])
            return width or round(columns * height / rows) or columns, height or round(rows * width / columns) or rows
        case "scale by multiplier":
            factor = float(rule["multiplier"])
        case "scale longer dimension":
            factor = int(rule["longer_size"]) / max(columns, rows)
        case "scale shorter dimension":
            factor = int(rule["shorter_size"]) / min(columns, rows)
        case "scale width":
            factor = int(rule["width"]) / columns
        case "scale height":
            factor = int(rule["height"]) / rows
        case "scale total pixels":
            factor = (float(rule["megapixels"]) * 1024 * 1024 / (columns * rows)) ** 0.5
        case "match size":
            return int(rule["match"].shape[2]), int(rule["match"].shape[1])
        case "scale to multiple":
            multiple = max(int(rule["multiple"]), 1)
            return columns // multiple * multiple or columns, rows // multiple * multiple or rows
        case other:
            raise ValueError(f"Unknown resize type: {other}")
    return round(columns * factor), round(rows * factor)


def invert(image: Array) -> Array:
    """ImageInvert; transparency stays."""
    result = image.copy()
    result[..., :3] = 1 - image[..., :3]
    return result


def image_batch(image1: Array, image2: Array) -> Array:
    """ImageBatch."""
    return joined([image1, image2])


def batch_images(images: Mapping[str, Array]) -> Array:
    """BatchImagesNode."""
    return joined(grown(images))


def repeat(image: Array, amount: int) -> Array:
    """RepeatImageBatch."""
    check_size(amount, *image.shape)
    return np.repeat(image[None], amount, axis=0).reshape(-1, *image.shape[1:])


def from_batch(image: Array, batch_index: int, length: int) -> Array:
    """ImageFromBatch: out of range indexes go to the nearest picture."""
    start = min(batch_index, len(image) - 1)
    return image[start : start + min(length, len(image) - start)]


def rebatch(images: list[Array], batch_size: list[int]) -> tuple[list[Array]]:
    """RebatchImages."""
    singles = [picture[None] for batch in images for picture in batch]
    size = batch_size[0]
    return ([np.concatenate(singles[at : at + size]) for at in range(0, len(singles), size)],)


def crop(image: Array, width: int, height: int, x: int, y: int) -> Array:
    """ImageCrop: the corner is moved into the picture, and what would lie outside is left out."""
    x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return image[:, y : y + height, x : x + width]


def crop_region(image: Array, crop_region: Mapping[str, int]) -> Array:
    """ImageCropV2."""
    return crop(image, *(int(crop_region.get(key, 0)) for key in ("width", "height", "x", "y")))


def centre_crop(images: Array, width: int, height: int) -> Array:
    """CenterCropImages."""
    x, y = max((images.shape[2] - width) // 2, 0), max((images.shape[1] - height) // 2, 0)
    return images[:, y : y + height, x : x + width]


def random_crop(images: Array, width: int, height: int, seed: int) -> Array:
    """RandomCropImages."""
    rng = np.random.RandomState(seed % 2**32)
    x = rng.randint(0, max(images.shape[2] - width, 0) + 1)
    y = rng.randint(0, max(images.shape[1] - height, 0) + 1)
    return images[:, y : y + height, x : x + width]


def stitch(
    image1: Array,
    direction: str = "right",
    match_image_size: bool = True,
    spacing_width: int = 0,
    spacing_color: str = "white",
    image2: Array | None = None,
) -> Array:
    """ImageStitch: two pictures side by side or one above the other, with a gap."""
    if image2 is None:
        return image1
    beside = direction in ("left", "right")
    count = max(len(image1), len(image2))
    first, second = (_filled(image, count) for image in (image1, image2))
    rows, columns = first.shape[1:3]
    if match_image_size:
        shape = second.shape[2] / second.shape[1]
        size = (int(rows * shape), rows) if beside else (columns, int(columns / shape))
        second = scaled(second, max(size[0], 1), max(size[1], 1), "lanczos")
    else:
        first, second = _padded_alike(first, second, 1 if beside else 2, 1.0 if spacing_color == "white" else 0.0)
    first, second = same_channels(first, second)
    pair = [first, second] if direction in ("right", "down") else [second, first]
    gap = spacing_width + spacing_width % 2
    if gap:
        shape = (count, first.shape[1], gap) if beside else (count, gap, first.shape[2])
        pair.insert(1, _plain(shape, spacing_color, first.shape[-1]))
    return np.concatenate(pair, axis=2 if beside else 1)


def _filled(image: Array, count: int) -> Array:
    return np.concatenate([image, np.repeat(image[-1:], count - len(image), axis=0)]) if len(image) < count else image


def _padded_alike(first: Array, second: Array, axis: int, ground: float) -> tuple[Array, Array]:
    most = max(first.shape[axis], second.shape[axis])

    def padded(image: Array) -> Array:
        before = (most - image.shape[axis]) // 2
        widths = [(0, 0)] * 4
        widths[axis] = (before, most - image.shape[axis] - before)
        return np.pad(image, widths, constant_values=ground)

    return padded(first), padded(second)


def _plain(shape: tuple[int, ...], colour: str, channels: int) -> Array:
    parts = [*_COLOURS[colour], 1.0][:channels]
    return np.full((*shape, channels), np.asarray(parts, dtype=np.float32))


def fit_and_pad(image: Array, target_width: int, target_height: int, padding_color: str, interpolation: str) -> Array:
    """ResizeAndPadImage: the whole picture inside the wanted size, in the middle of a plain ground."""
    rows, columns = image.shape[1:3]
    factor = min(target_width / columns, target_height / rows)
    width, height = max(int(columns * factor), 1), max(int(rows * factor), 1)
    canvas = _plain((len(image), target_height, target_width), padding_color, image.shape[-1])
    top, left = (target_height - height) // 2, (target_width - width) // 2
    canvas[:, top : top + height, left : left + width] = scaled(image, width, height, interpolation)
    return canvas


def rotate(image: Array, rotation: str) -> Array:
    """ImageRotate: clockwise by quarter turns."""
    turns = {"90": 1, "180": 2, "270": 3}.get(rotation.split(" ")[0], 0)
    return np.rot90(image, -turns, axes=(1, 2))


def flip(image: Array, flip_method: str) -> Array:
    """ImageFlip."""
    return image[:, ::-1] if flip_method.startswith("x") else image[:, :, ::-1]


def pad_for_outpaint(
    image: Array, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[Array, Array]:
    """ImagePadForOutpaint: a grey border, and a mask that is 1 there and fades into the picture."""
    count, rows, columns, channels = image.shape
    size = (rows + top + bottom, columns + left + right)
    canvas: Array = np.full((count, *size, channels), np.float32(0.5), dtype=np.float32)
    canvas[:, top : top + rows, left : left + columns] = image
    mask: Array = np.ones(size, dtype=np.float32)
    mask[top : top + rows, left : left + columns] = _fade(rows, columns, (left, top, right, bottom), feathering)
    return canvas, mask[None]


def _fade(rows: int, columns: int, border: tuple[int, int, int, int], feathering: int) -> Array:
    if feathering <= 0 or feathering * 2 >= rows or feathering * 2 >= columns:
        return np.zeros((rows, columns), dtype=np.float32)
    left, top, right, bottom = border
    y, x = np.arange(rows, dtype=np.float32)[:, None], np.arange(columns, dtype=np.float32)[None, :]
    far = np.float32(max(rows, columns))
    distance = np.minimum(
        np.minimum(y if top else far, rows - y if bottom else far),
        np.minimum(x if left else far, columns - x if right else far),
    )
    return np.broadcast_to(np.clip(1 - distance / np.float32(feathering), 0, 1) ** 2, (rows, columns))


def size_of(image: Array) -> tuple[int, int, int]:
    """Width, height and count of a batch."""
    return int(image.shape[2]), int(image.shape[1]), len(image)


NODES: dict[str, NodeFunction] = {
    "EmptyImage": computed(empty_image),
    "ImageScale": computed(image_scale),
    "ImageScaleBy": computed(image_scale_by),
    "ImageScaleToTotalPixels": computed(to_megapixels),
    "ImageScaleToMaxDimension": computed(to_longest),
    "ResizeImagesByLongerEdge": computed(by_longer_edge),
    "ResizeImagesByShorterEdge": computed(by_shorter_edge),
    "FluxKontextImageScale": computed(kontext_scale),
    "ResizeImageMaskNode": computed(resize_either),
    "ImageInvert": computed(invert),
    "ImageBatch": computed(image_batch),
    "BatchImagesNode": computed(batch_images),
    "RepeatImageBatch": computed(repeat),
    "ImageFromBatch": computed(from_batch),
    "RebatchImages": listed(rebatch),
    "ImageCrop": computed(crop),
    "CenterCropImages": computed(centre_crop),
    "RandomCropImages": computed(random_crop),
    "ImageStitch": computed(stitch),
    "ResizeAndPadImage": computed(fit_and_pad),
    "ImageRotate": computed(rotate),
    "ImageFlip": computed(flip),
    "ImagePadForOutpaint": computed(pad_for_outpaint),
}
