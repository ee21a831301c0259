"""Sizes of pictures in pixels, and ratios that a model family turns into a size it is good at."""

from __future__ import annotations

import re
from typing import NamedTuple

MULTIPLE = 8
"""Latents have one cell for 8 x 8 pixels."""

SMALLEST, LARGEST = 64, 8192


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Ratio(NamedTuple):
    """Width to height."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}:{self.height}"


def parse(text: str) -> Size | Ratio:
    """ "768x432" as a size, "16:9" as a ratio.

    Raises ValueError with a sentence saying what would do.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*([x×:])\s*(\d{1,5})\s*", text)
    if not found:
        raise ValueError(f"{text!r} is no size; write 768x432 (pixels) or 16:9 (a ratio)")
    width, height = int(found[1]), int(found[3])
    if found[2] == ":":
        return checked_ratio(width, height)
    return checked_size(width, height)


def checked_size(width: int, height: int) -> Size:
    """The size. Raises ValueError where a model could not draw it."""
    for name, value in (("width", width), ("height", height)):
        if not SMALLEST <= value <= LARGEST:
            raise ValueError(f"the {name} {value} is not between {SMALLEST} and {LARGEST}")
        if value % MULTIPLE:
            low = value - value % MULTIPLE
            raise ValueError(f"the {name} {value} is no multiple of {MULTIPLE}; {low} and {low + MULTIPLE} are")
    return Size(width, height)


def checked_ratio(width: int, height: int) -> Ratio:
    """The ratio. Raises ValueError for ratios that nobody could mean."""
    if not width or not height or not 1 / 8 <= width / height <= 8:
        raise ValueError(f"the ratio {width}:{height} is not between 1:8 and 8:1")
    return Ratio(width, height)


def fit(wanted: Size | Ratio, pixels: int, multiple: int) -> Size:
    """A size as it is; a ratio as the size of about so many pixels, both sides multiples of `multiple`."""
    if isinstance(wanted, Size):
        return wanted
    ratio = wanted.width / wanted.height
    width, height = (pixels * ratio) ** 0.5, (pixels / ratio) ** 0.5
    return Size(_near(width, multiple), _near(height, multiple))


def _near(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
