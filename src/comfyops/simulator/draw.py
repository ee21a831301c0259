"""Decoded latents: the scene of each sampler pass laid over what was encoded, with a strip that says SIMULATED."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from comfyops.simulator.scenes import scene
from comfyops.simulator.values import Guide, Latent, Layer, check_size, fingerprint, frozen_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from comfyops.simulator.values import Array

    Bytes: TypeAlias = npt.NDArray[np.uint8]


_LARGEST_SIDE = 2048  # pixels that are really painted


def draw(latent: Latent) -> Array:
    """The pictures that a decoder makes of a latent: [batch or frames, height, width, 3], read-only.

    A video is one wide picture along which the frames pan, as a view: it takes hardly more memory than one frame.
    """
    if latent.frames > 1:
        return _pan(latent)
    check_size(latent.batch, latent.height, latent.width, 3)
    pictures = [_picture(latent, latent.batch_index + index, latent.width) for index in range(latent.batch)]
    return frozen_array(np.stack(pictures))


def sketch(latent: Latent, size: int = 384) -> Array:
    """The first picture of a latent, at most `size` pixels wide and high (for previews): [height, width, 3]."""
    factor = min(1.0, size / max(latent.width, latent.height, 1))
    width, height = max(int(latent.width * factor), 1), max(int(latent.height * factor), 1)
    return _blended(latent, latent.batch_index, width, height)


def caption(picture: Array, text: str, left: int = 0) -> Array:
    """The picture in 8-bit steps, with a strip at its bottom that says SIMULATED and `text`."""
    image = Image.fromarray(to_bytes(picture))
    font = ImageFont.load_default_imagefont()
    zoom = 1 if image.width < 900 else 2
    line = f"SIMULATED  {text}".encode("latin-1", "replace").decode("latin-1")
    strip = Image.new("L", (max(image.width // zoom, 1), 15), 0)
    ImageDraw.Draw(strip).text((left // zoom + 5, 2), line, font=font, fill=255)
    strip = strip.resize((image.width, 15 * zoom), Image.Resampling.NEAREST)
    top = image.height - strip.height
    if top > 0:
        dark = Image.new("RGB", strip.size, (12, 14, 24))
        image.paste(dark, (0, top), Image.new("L", strip.size, 150))
        image.paste(Image.new("RGB", strip.size, (245, 245, 240)), (0, top), strip)
    return frozen_array(np.asarray(image, dtype=np.float32) / np.float32(255))


def to_bytes(picture: Array) -> Bytes:
    """0..1 as 0..255, cut off like ComfyUI does it."""
    data: Bytes = np.clip(picture * np.float32(255), 0, 255).astype(np.uint8)
    return data


def resized(picture: Array, width: int, height: int) -> Array:
    """One picture [height, width, 3] in another size, bilinear."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(to_bytes(picture[..., :3]))
    scaled = image.resize((max(width, 1), max(height, 1)), Image.Resampling.BILINEAR)
    return np.asarray(scaled, dtype=np.float32) / np.float32(255)


def label(layer: Layer, index: int = 0) -> str:
    """The words of the strip: start of the prompt, model, seed."""
    prompt = " ".join(layer.prompt.split())
    start = prompt if len(prompt) <= 38 else prompt[:36].rstrip() + ".."
    model = layer.model.rsplit("/", 1)[-1].rsplit(".", 1)[0][:28]
    number = f"seed {layer.seed}" + (f" #{index}" if index else "")
    return " | ".join(part for part in (start, model, number) if part)


def _picture(latent: Latent, index: int, width: int, left: int = 0) -> Array:
    pixels = _blended(latent, index, width, latent.height)
    text = label(latent.layers[-1], index) if latent.layers else "decoded without sampling"
    return caption(pixels, text, left)


def _pan(latent: Latent) -> Array:
    step = max(1, latent.width // 8 // latent.frames)
    travel = step * (latent.frames - 1)
    wide = np.ascontiguousarray(_picture(latent, latent.batch_index, latent.width + travel, left=travel))
    rows, columns, cells = wide.strides
    shape = (latent.frames, latent.height, latent.width, 3)
    view = np.lib.stride_tricks.as_strided(wide, shape, (step * columns, rows, columns, cells), writeable=False)
    return view


def _blended(latent: Latent, index: int, width: int, height: int) -> Array:
    """All passes over what was encoded, each by its weight; where there is a mask, only inside of it.

    A very large picture is painted smaller and then enlarged.
    """
    factor = _LARGEST_SIDE / max(width, height)
    if factor < 1:
        small = _blended(latent, index, max(int(width * factor), 1), max(int(height * factor), 1))
        return resized(small, width, height)
    if latent.pixels is None:
        below: Array = np.full((height, width, 3), np.float32(0.5), dtype=np.float32)
    else:
        below = resized(latent.pixels[index % len(latent.pixels)], width, height)
    for layer in latent.layers:
        digest = fingerprint(layer.digest, index)
        drawn = scene(layer.prompt, digest, width, height, steps=layer.steps, cfg=layer.cfg)
        drawn = _guided(drawn, layer.guides)
        below = below + (drawn - below) * _amount(latent, layer, index, width, height)
    return below


def _amount(latent: Latent, layer: Layer, index: int, width: int, height: int) -> Array | np.float32:
    weight = np.float32(min(max(layer.weight, 0.0), 1.0))
    if latent.mask is None:
        return weight
    mask = latent.mask[index % len(latent.mask)]
    return resized(np.repeat(mask[..., None], 3, axis=-1), width, height)[..., :1] * weight


def _guided(drawn: Array, guides: Sequence[Guide]) -> Array:
    for guide in guides:
        shown = resized(guide.image[0], drawn.shape[1], drawn.shape[0])
        drawn = drawn + (shown - drawn) * np.float32(min(max(guide.weight, 0.0), 1.0))
    return drawn
