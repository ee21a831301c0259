"""A picture being painted: coordinates, shapes and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

Colour = tuple[float, float, float]


class Canvas:
    """A picture being painted, with the coordinates of its pixels: y and x run from 0 to 1 and to the aspect ratio."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.y: Array = (np.arange(height, dtype=np.float32) / np.float32(max(height, 1)))[:, None]
        self.x: Array = (np.arange(width, dtype=np.float32) / np.float32(max(height, 1)))[None, :]
        self.aspect = width / max(height, 1)
        self.pixels: Array = np.zeros((height, width, 3), dtype=np.float32)

    def paint(self, mask: Array, colour: Colour | Array, top: int = 0, bottom: int | None = None) -> None:
        """Lay a colour over the rows from top to bottom, as much as the mask says."""
        rows = self.pixels[top:bottom]
        rows += (np.asarray(colour, dtype=np.float32) - rows) * mask[..., None]

    def row(self, y: float) -> int:
        """The row of pixels at this height."""
        return min(max(int(y * self.height), 0), self.height)

    def column(self, x: float) -> int:
        """The column of pixels at this distance from the left."""
        return min(max(int(x * self.height), 0), self.width)


def ellipse(canvas: Canvas, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
    """An ellipse around x, y."""
    top, bottom = canvas.row(y - ry), canvas.row(y + ry) + 1
    dx = (canvas.x - np.float32(x)) / np.float32(rx)
    dy = (canvas.y[top:bottom] - np.float32(y)) / np.float32(ry)
    inside: Array = (np.float32(1) - dx * dx - dy * dy) * np.float32(rx * canvas.height / 2)
    mask: Array = np.clip(inside, 0, 1)
    canvas.paint(mask, colour, top, bottom)


def glow(canvas: Canvas, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
    """Light around x, y that fades with the distance."""
    dx, dy = canvas.x - np.float32(x), canvas.y - np.float32(y)
    distance = np.asarray((dx * dx + dy * dy) / np.float32(radius * radius), dtype=np.float32)
    light: Array = np.reciprocal(np.float32(1) + distance)
    canvas.paint(light * light * np.float32(strength), colour)


def tower(canvas: Canvas, x: float, top: float, bottom: float, half: tuple[float, float], colour: Colour) -> None:
    """An upright shape whose half width goes from half[0] at its top to half[1] at its bottom."""
    first, last = canvas.row(top), canvas.row(bottom) + 1
    t = (canvas.y[first:last] - np.float32(top)) / np.float32(max(bottom - top, 1e-6))
    edge = np.float32(half[0]) + t * np.float32(half[1] - half[0])
    mask = np.clip((edge - np.abs(canvas.x - np.float32(x))) * np.float32(canvas.height), 0, 1)
    canvas.paint(mask, colour, first, last)


def colour_of(code: str) -> Colour:
    """A colour from #rrggbb."""
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue
