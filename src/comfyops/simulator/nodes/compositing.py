"""Pictures laid over and beside one another: Porter-Duff, tiles, grids, words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from comfyops.simulator.call import NodeFunction
from comfyops.simulator.draw import to_bytes
from comfyops.simulator.nodes.define import computed, listed
from comfyops.simulator.nodes.masks import batched
from comfyops.simulator.nodes.resize import scaled

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

# Porter and Duff (1984): the shares of source and destination, from both alphas.
_PORTER_DUFF: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "CLEAR": lambda s, d: (0, 0),
    "SRC": lambda s, d: (1, 0),
    "DST": lambda s, d: (0, 1),
    "SRC_OVER": lambda s, d: (1, 1 - s),
    "DST_OVER": lambda s, d: (1 - d, 1),
    "SRC_IN": lambda s, d: (d, 0),
    "DST_IN": lambda s, d: (0, s),
    "SRC_OUT": lambda s, d: (1 - d, 0),
    "DST_OUT": lambda s, d: (0, 1 - s),
    "SRC_ATOP": lambda s, d: (d, 1 - s),
    "DST_ATOP": lambda s, d: (1 - d, s),
    "XOR": lambda s, d: (1 - d, 1 - s),
}


def porter_duff(
    source: Array, source_alpha: Array, destination: Array, destination_alpha: Array, mode: str
) -> tuple[Array, Array]:
    """PorterDuffImageComposite: in the size of the destination; the alphas are masks, 1 = transparent."""
    height, width = destination.shape[1:3]
    count = min(len(source), len(destination), len(batched(source_alpha)), len(batched(destination_alpha)))
    over = scaled(source[:count, ..., :3], width, height, "bicubic", "center")
    s = 1 - scaled(batched(source_alpha)[:count], width, height, "bicubic", "center")[..., None]
    d = 1 - scaled(batched(destination_alpha)[:count], width, height, "bicubic", "center")[..., None]
    colours, alpha = _merged(over * s, s, destination[:count, ..., :3] * d, d, mode)
    opaque = np.where(alpha > 1e-5, alpha, 1)
    result = np.where(alpha > 1e-5, colours / opaque, 0)
    return np.clip(result, 0, 1), 1 - np.broadcast_to(alpha, (count, height, width, 1))[..., 0]


def _merged(over: Array, s: Array, under: Array, d: Array, mode: str) -> tuple[Any, Any]:
    """Colours multiplied by their alpha, and the alpha."""
    if mode in _PORTER_DUFF:
        of_source, of_destination = _PORTER_DUFF[mode](s, d)
        return over * of_source + under * of_destination, s * of_source + d * of_destination
    union = s + d - s * d
    rest = over * (1 - d) + under * (1 - s)
    match mode:
        case "ADD":
            return np.clip(over + under, 0, 1), np.clip(s + d, 0, 1)
        case "DARKEN":
            return rest + np.minimum(over, under), union
        case "LIGHTEN":
            return rest + np.maximum(over, under), union
        case "MULTIPLY":
            return over * under, s * d
        case "SCREEN":
            return over + under - over * under, union
        case "OVERLAY":
            return np.where(2 * under < d, 2 * over * under, s * d - 2 * (d - over) * (s - under)), union
    raise ValueError(f"Unknown mode: {mode}")


def split_tiles(image: Array, tile_width: int, tile_height: int, overlap: int) -> tuple[list[Array]]:
    """SplitImageToTileList: tiles row by row; the last of each row and column is moved back into the picture."""
    places = _tiles(image.shape[2], image.shape[1], tile_width, tile_height, overlap)
    return ([image[:, y : y + tile_height, x : x + tile_width] for x, y in places],)


def merge_tiles(image_list: list[Array], final_width: list[int], final_height: list[int], overlap: list[int]) -> Array:
    """ImageMergeTileList: the reverse; tiles fade out towards their edges where they overlap."""
    first = image_list[0]
    count, rows, columns, channels = first.shape
    width, height = final_width[0], final_height[0]
    weight: Array = np.ones((rows, columns, 1), dtype=np.float32)
    if overlap[0] > 0:
        weight = (_bump(rows)[:, None] * _bump(columns)[None, :])[..., None]
    canvas = np.zeros((count, height, width, channels), dtype=np.float32)
    total = np.zeros((height, width, 1), dtype=np.float32)
    for tile, (x, y) in zip(image_list, _tiles(width, height, columns, rows, overlap[0]), strict=False):
        area = canvas[:, y : y + rows, x : x + columns]
        high, wide = min(area.shape[1], tile.shape[1]), min(area.shape[2], tile.shape[2])
        area[:, :high, :wide] += tile[:, :high, :wide] * weight[:high, :wide]
        total[y : y + high, x : x + wide] += weight[:high, :wide]
    return np.asarray(canvas / np.where(total == 0, np.float32(1), total), dtype=np.float32)


def _bump(size: int) -> Array:
    return np.maximum(np.sin(np.pi * np.linspace(0, 1, size)), 1e-5).astype(np.float32)


def _tiles(width: int, height: int, wide: int, high: int, overlap: int) -> list[tuple[int, int]]:
    return [(x, y) for y in _starts(height, high, overlap) for x in _starts(width, wide, overlap)]


def _starts(whole: int, tile: int, overlap: int) -> Iterator[int]:
    step = max(round(max(tile * 0.25, tile - overlap)), 1)
    at = 0
    while at + tile < whole:
        yield at
        at += step
    yield max(whole - tile, 0)


def grid(
    images: list[Array], columns: list[int], cell_width: list[int], cell_height: list[int], padding: list[int]
) -> Array:
    """ImageGrid: every picture in a cell of its own, on black."""
    across, wide, high, gap = columns[0], cell_width[0], cell_height[0], padding[0]
    pictures = [picture[None, ..., :3] for batch in images for picture in batch]
    rows = -(-len(pictures) // across)
    canvas = np.zeros((1, rows * (high + gap) - gap, across * (wide + gap) - gap, 3), dtype=np.float32)
    for index, picture in enumerate(pictures):
        y, x = index // across * (high + gap), index % across * (wide + gap)
        canvas[:, y : y + high, x : x + wide] = scaled(picture, wide, high, "lanczos")
    return canvas


def overlay_text(
    images: Array,
    text: str,
    font_size: float = 5.0,
    color: str = "#ffffff",
    position: str = "top",
    align: str = "left",
    outline: bool = True,
) -> Array:
    """TextOverlay, in Pillow's own font; the size is a percentage of the height."""
    result = images.copy()
    for index, picture in enumerate(images[..., :3]):
        image = Image.fromarray(to_bytes(picture))
        size = max(image.height * font_size / 100, 6)
        pen, font, stroke = ImageDraw.Draw(image), ImageFont.load_default(size), round(size / 12) if outline else 0
        left, _, right, bottom = pen.multiline_textbbox((0, 0), text, font=font, stroke_width=stroke)
        x = {"left": size / 2, "center": (image.width - right + left) / 2}.get(align, image.width - right - size / 2)
        y = size / 2 if position == "top" else image.height - bottom - size / 2
        pen.multiline_text(
            (x, y), text, ImageColor.getrgb(color), font=font, align=align, stroke_width=stroke, stroke_fill="black"
        )
        result[index, ..., :3] = np.asarray(image, dtype=np.float32) / np.float32(255)
    return result


NODES: dict[str, NodeFunction] = {
    "PorterDuffImageComposite": computed(porter_duff),
    "SplitImageToTileList": computed(split_tiles),
    "ImageMergeTileList": listed(merge_tiles),
    "ImageGrid": listed(grid),
    "TextOverlay": computed(overlay_text),
}
