"""Batches in another size, with the methods that ComfyUI offers.

"nearest-exact", "bilinear", "bicubic" and "area" are torch's (half-pixel centres, no smoothing when shrinking),
"lanczos" is Pillow's on 8-bit pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from comfyops.simulator.values import check_size

if TYPE_CHECKING:
    import numpy.typing as npt

    from comfyops.simulator.values import Array

    Weights = tuple[npt.NDArray[np.int64], Array]

_BICUBIC = -0.75


def scaled(image: Array, width: int, height: int, method: str = "bilinear", crop: str = "disabled") -> Array:
    """A batch of pictures (or of masks) in another size; "center" first cuts off what the new shape has no room for."""
    if crop == "center":
        image = _centre_shape(image, width, height)
    if image.shape[1:3] == (height, width):
        return image
    check_size(len(image), height, width, *image.shape[3:])
    if method == "lanczos":
        return _lanczos(image, width, height)
    return _along(_along(image, 1, height, method), 2, width, method)


def _centre_shape(image: Array, width: int, height: int) -> Array:
    rows, columns = image.shape[1:3]
    x = y = 0
    if columns / rows > width / height:
        x = round((columns - columns * ((width / height) / (columns / rows))) / 2)
    elif columns / rows < width / height:
        y = round((rows - rows * ((columns / rows) / (width / height))) / 2)
    return image[:, y : rows - y, x : columns - x]


def _along(image: Array, axis: int, size: int, method: str) -> Array:
    if image.shape[axis] == size:
        return image
    if method == "area":
        return _averaged(image, axis, size)
    places, weights = _taps(image.shape[axis], size, method)
    shape = [1] * image.ndim
    shape[axis] = size
    if len(places) == 1:
        nearest: Array = np.take(image, places[0], axis=axis)
        return nearest
    total: Array = np.take(image, places[0], axis=axis) * weights[0].reshape(shape)
    for place, weight in zip(places[1:], weights[1:], strict=True):
        total += np.take(image, place, axis=axis) * weight.reshape(shape)
    return total


def _taps(before: int, after: int, method: str) -> Weights:
    """For each new pixel the old ones that it is made of, and their weights: [taps, after]."""
    at = (np.arange(after) + 0.5) * (before / after)
    if method == "nearest-exact":
        return np.minimum(np.floor(at), before - 1).astype(np.int64)[None], np.ones((1, after), dtype=np.float32)
    at -= 0.5
    if method != "bicubic":
        at = np.maximum(at, 0)
    first = np.floor(at)
    t = (at - first).astype(np.float32)
    offsets = (-1, 0, 1, 2) if method == "bicubic" else (0, 1)
    weights = np.stack([_cubic(np.abs(t - offset)) for offset in offsets]) if method == "bicubic" else None
    places = np.stack([np.clip(first + offset, 0, before - 1) for offset in offsets]).astype(np.int64)
    return places, np.stack([1 - t, t]) if weights is None else weights


def _cubic(x: Array) -> Array:
    """Keys' cubic convolution kernel (1981)."""
    a = np.float32(_BICUBIC)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    weight: Array = np.where(x <= 1, near, far).astype(np.float32)
    return weight


def _averaged(image: Array, axis: int, size: int) -> Array:
    """Each new pixel the mean of the old ones that it covers."""
    before = image.shape[axis]
    at = np.arange(size)
    start, end = at * before // size, -((at + 1) * before // -size)
    sums = np.cumsum(image, axis=axis, dtype=np.float64)
    padded = np.insert(sums, 0, 0, axis=axis)
    shape = [1] * image.ndim
    shape[axis] = size
    total = np.take(padded, end, axis=axis) - np.take(padded, start, axis=axis)
    return np.asarray(total / (end - start).reshape(shape), dtype=np.float32)


def _lanczos(image: Array, width: int, height: int) -> Array:
    masks = image.ndim == 3
    planes = image[..., None] if masks else image
    result = np.empty((len(planes), height, width, planes.shape[-1]), dtype=np.float32)
    for index, picture in enumerate(planes):
        data = np.clip(picture * np.float32(255), 0, 255).astype(np.uint8)
        plain = Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data)
        small = np.asarray(plain.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32)
        result[index] = small.reshape(height, width, -1) / np.float32(255)
    return result[..., 0] if masks else result
