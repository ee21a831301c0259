"""Pictures worked over: blended, blurred, sharpened, edges, fewer colours, brightness, shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from comfyops.simulator.call import NodeFunction
from comfyops.simulator.draw import to_bytes
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.images import same_channels
from comfyops.simulator.nodes.resize import scaled

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_GREY = np.asarray((0.299, 0.587, 0.114), dtype=np.float32)
_TO_YUV = np.asarray(
    ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)), dtype=np.float32
)


def blend(image1: Array, image2: Array, blend_factor: float, blend_mode: str) -> Array:
    """ImageBlend: the second over the first, as much as the factor says."""
    image1, image2 = same_channels(image1, image2)
    if image1.shape[1:3] != image2.shape[1:3]:
        image2 = scaled(image2, image1.shape[2], image1.shape[1], "bicubic", "center")
    mixed = _mixed(image1, image2, blend_mode)
    return _limited(image1 * np.float32(1 - blend_factor) + mixed * np.float32(blend_factor))


def _limited(picture: Any) -> Array:
    result: Array = np.clip(picture, 0, 1)
    return result


def _mixed(under: Array, over: Array, mode: str) -> Any:
    match mode:
        case "normal":
            return over
        case "multiply":
            return under * over
        case "screen":
            return 1 - (1 - under) * (1 - over)
        case "overlay":
            return np.where(under <= 0.5, 2 * under * over, 1 - 2 * (1 - under) * (1 - over))
        case "soft_light":
            curve = np.where(under <= 0.25, ((16 * under - 12) * under + 4) * under, np.sqrt(under))
            dark = under - (1 - 2 * over) * under * (1 - under)
            return np.where(over <= 0.5, dark, under + (2 * over - 1) * (curve - under))
        case "difference":
            return under - over
    raise ValueError(f"Unknown blend mode: {mode}")


def _gauss(radius: int, sigma: float) -> Array:
    place = np.linspace(-1, 1, 2 * radius + 1)
    weights = np.exp(-(place**2) / (2 * sigma * sigma))
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _convolved(image: Array, weights: Array) -> Array:
    """Each channel smoothed along both sides, mirrored at the edges."""
    radius = len(weights) // 2
    result = image
    for axis in (1, 2):
        widths = [(0, 0)] * image.ndim
        widths[axis] = (radius, radius)
        padded = np.pad(result, widths, mode="reflect" if image.shape[axis] > radius else "edge")
        total = np.zeros_like(result)
        for at, weight in enumerate(weights):
            total += np.take(padded, range(at, at + result.shape[axis]), axis=axis) * weight
        result = total
    return result


def blur(image: Array, blur_radius: int, sigma: float) -> Array:
    """ImageBlur: Gaussian; sigma in units of the radius."""
    return image if blur_radius == 0 else _convolved(image, _gauss(blur_radius, sigma))


def sharpen(image: Array, sharpen_radius: int, sigma: float, alpha: float) -> Array:
    """ImageSharpen: what a blur takes away is added ten times `alpha`."""
    if sharpen_radius == 0:
        return image
    smooth = _convolved(image, _gauss(sharpen_radius, sigma))
    return np.clip(image + (image - smooth) * np.float32(10 * alpha), 0, 1)


def quantize(image: Array, colors: int, dither: str) -> Array:
    """ImageQuantize: at most so many colours, with no, Floyd-Steinberg or ordered dithering."""
    result = np.empty((*image.shape[:3], 3), dtype=np.float32)
    for index, picture in enumerate(image[..., :3]):
        plain = Image.fromarray(to_bytes(picture))
        palette = plain.quantize(colors=colors)
        source = (
            Image.fromarray(_ordered(picture, len(palette.getpalette() or ()) // 3, int(dither[6:])))
            if dither.startswith("bayer")
            else plain
        )
        spread = Image.Dither.FLOYDSTEINBERG if dither == "floyd-steinberg" else Image.Dither.NONE
        reduced = source.quantize(colors=colors, palette=palette, dither=spread)
        result[index] = np.asarray(reduced.convert("RGB"), dtype=np.float32) / np.float32(255)
    return result


def _ordered(picture: Array, colours: int, order: int) -> Any:
    """The picture with a Bayer pattern added; the fewer colours, the stronger."""
    pattern = _bayer(order) * np.float32(512 / colours) + np.float32(0.5)
    rows, columns = picture.shape[:2]
    tiled = np.tile(pattern, (rows // order + 1, columns // order + 1))[:rows, :columns]
    return np.clip(to_bytes(picture) + tiled[..., None], 0, 255).astype(np.uint8)


def _bayer(order: int) -> Array:
    """The ordered dither pattern of this size (a power of 2), from -0.5 to 0.5."""
    if order == 1:
        return np.zeros((1, 1), dtype=np.float32)
    inner = _bayer(order // 2)
    step = np.float32(1 / (order * order))
    return np.block([[inner - 1.5 * step, inner + 0.5 * step], [inner + 1.5 * step, inner - 0.5 * step]])


def canny(image: Array, low_threshold: float, high_threshold: float) -> Array:
    """Canny: thin white edges where the grey value changes fast enough, as pictures."""
    grey = _convolved((image[..., :3] @ _GREY)[..., None], _gauss(2, 0.5))[..., 0]
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows, columns = grey.shape[1:]

    def at(dy: int, dx: int) -> Any:
        return padded[:, dy : dy + rows, dx : dx + columns]

    across = at(0, 2) + 2 * at(1, 2) + at(2, 2) - at(0, 0) - 2 * at(1, 0) - at(2, 0)
    down = at(2, 0) + 2 * at(2, 1) + at(2, 2) - at(0, 0) - 2 * at(0, 1) - at(0, 2)
    strength = np.sqrt(across * across + down * down)
    thin = _thinned(strength, across, down)
    edges = _linked(thin > high_threshold, thin > low_threshold)
    return np.repeat(edges[..., None], 3, axis=-1).astype(np.float32)


def _thinned(strength: Array, across: Array, down: Array) -> Any:
    """Only what is strongest across its own edge."""
    padded = np.pad(strength, ((0, 0), (1, 1), (1, 1)))
    rows, columns = strength.shape[1:]
    flat, steep = np.abs(down) < np.abs(across) * 0.41421356, np.abs(across) < np.abs(down) * 0.41421356
    falling = across * down > 0
    keep = np.zeros(strength.shape, dtype=bool)
    for chosen, (dy, dx) in (
        (flat, (0, 1)),
        (steep, (1, 0)),
        (~flat & ~steep & falling, (1, 1)),
        (~flat & ~steep & ~falling, (1, -1)),
    ):
        before = padded[:, 1 - dy : 1 - dy + rows, 1 - dx : 1 - dx + columns]
        after = padded[:, 1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        keep |= chosen & (strength > before) & (strength > after)
    return np.where(keep, strength, 0)


def _linked(strong: Any, weak: Any) -> Any:
    """Weak points that touch strong ones become edges too."""
    while True:
        grown = _extreme(strong.astype(np.float32), 3, np.maximum).astype(bool) & weak
        if (grown == strong).all():
            return strong
        strong = grown | strong


def morphology(image: Array, operation: str, kernel_size: int) -> Array:
    """Morphology, with a square kernel."""

    def erode(picture: Array) -> Array:
        return _extreme(picture, kernel_size, np.minimum)

    def dilate(picture: Array) -> Array:
        return _extreme(picture, kernel_size, np.maximum)

    match operation:
        case "erode":
            return erode(image)
        case "dilate":
            return dilate(image)
        case "open":
            return dilate(erode(image))
        case "close":
            return erode(dilate(image))
        case "gradient":
            return dilate(image) - erode(image)
        case "top_hat":
            return image - dilate(erode(image))
        case "bottom_hat":
            return erode(dilate(image)) - image
    raise ValueError(f"Unknown operation: {operation}")


def _extreme(image: Array, size: int, pick: Any) -> Array:
    result = image
    for axis in (1, 2):
        widths = [(0, 0)] * image.ndim
        before = size // 2 if pick is np.minimum else (size - 1) // 2
        widths[axis] = (before, size - 1 - before)
        padded = np.pad(result, widths, mode="edge")
        length = result.shape[axis]
        for at in range(size):
            result = pick(result, np.take(padded, range(at, at + length), axis=axis))
    return result


def brightness(images: Array, factor: float) -> Array:
    """AdjustBrightness."""
    return _limited(images * np.float32(factor))


def contrast(images: Array, factor: float) -> Array:
    """AdjustContrast: away from middle grey."""
    return _limited((images - np.float32(0.5)) * np.float32(factor) + np.float32(0.5))


def normalize(images: Array, mean: float, std: float) -> Array:
    """NormalizeImages."""
    return (images - np.float32(mean)) / np.float32(std)


def add_noise(image: Array, seed: int, strength: float) -> Array:
    """ImageAddNoise: normal noise of a seed (another generator than torch's)."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + noise * np.float32(strength), 0, 1)


def to_yuv(image: Array) -> tuple[Array, ...]:
    """ImageRGBToYUV: luma and both chromas, each as grey pictures."""
    parts = image[..., :3] @ _TO_YUV.T + np.asarray((0, 0.5, 0.5), dtype=np.float32)
    return tuple(np.repeat(parts[..., number : number + 1], 3, axis=-1) for number in range(3))


def from_yuv(Y: Array, U: Array, V: Array) -> Array:
    """ImageYUVToRGB."""
    stacked = np.stack([part.mean(axis=-1) for part in (Y, U, V)], axis=-1) - np.asarray((0, 0.5, 0.5), np.float32)
    return _limited(stacked @ np.linalg.inv(_TO_YUV).T.astype(np.float32))


NODES: dict[str, NodeFunction] = {
    "ImageBlend": computed(blend),
    "ImageBlur": computed(blur),
    "ImageSharpen": computed(sharpen),
    "ImageQuantize": computed(quantize),
    "Canny": computed(canny),
    "Morphology": computed(morphology),
    "AdjustBrightness": computed(brightness),
    "AdjustContrast": computed(contrast),
    "NormalizeImages": computed(normalize),
    "ImageAddNoise": computed(add_noise),
    "ImageRGBToYUV": computed(to_yuv),
    "ImageYUVToRGB": computed(from_yuv),
}
