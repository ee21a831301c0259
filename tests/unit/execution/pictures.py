"""Pictures to test with."""

from __future__ import annotations

from PIL import Image, ImageDraw

SIZE = (200, 120)


def disc(colour: str | tuple[int, int, int] = "navy", size: tuple[int, int] = SIZE, at: int = 0) -> Image.Image:
    """A white disc on a plain background, `at` pixels to the right."""
    picture = Image.new("RGB", size, colour)
    ImageDraw.Draw(picture).ellipse((60 + at, 30, 120 + at, 90), fill="white")
    return picture


def clip(count: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, ...]:
    """Frames in which the disc moves."""
    return tuple(disc((number * 9 % 256, 0, 60), size, number) for number in range(count))


def left_half(size: tuple[int, int] = SIZE) -> Image.Image:
    """A mask, white in its left half."""
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask
