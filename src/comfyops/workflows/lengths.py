"""Which lengths and sizes models take, as values: what to ask of a server, and what to cut from what it gives.

Sources: the steps that ComfyUI's nodes declare for `length`, `width` and `height`, and the notes in the official
templates. A server does not refuse other values: it takes the next smaller one without a word.
"""

from __future__ import annotations

from dataclasses import dataclass

from comfyops.errors import UsageError

MAX_FRAMES = 16_384
"""The longest video that ComfyUI's nodes take."""

MAX_SIDE = 16_384
"""The longest side in pixels that ComfyUI's nodes take."""


@dataclass(frozen=True, slots=True)
class LengthRule:
    """Lengths in frames that a model makes: 1, step + 1, 2 step + 1, ..."""

    step: int

    def request(self, frames: int) -> int:
        """The length to ask for: the smallest that holds so many frames; the rest is cut from the end.

        Raises UsageError for a number of frames that no video has.
        """
        if not 1 <= frames <= MAX_FRAMES:
            raise UsageError(f"A video has from 1 to {MAX_FRAMES} frames, not {frames}.", hint="Give fewer frames.")
        return -(-(frames - 1) // self.step) * self.step + 1

    def surplus(self, frames: int) -> int:
        """How many frames to cut from the end of what comes."""
        return self.request(frames) - frames


@dataclass(frozen=True, slots=True)
class SizeRule:
    """Sizes in pixels that a model makes: both sides multiples of `multiple`, none under `smallest`."""

    multiple: int
    smallest: int = 64

    def request(self, width: int, height: int) -> tuple[int, int]:
        """The size to ask for: the smallest that holds the wanted one; the rest is cut off on all sides.

        Raises UsageError for a size that no picture has.
        """
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise UsageError(f"A side has from 1 to {MAX_SIDE} pixels, not {width} x {height}.", hint="Give a size.")
        return self._side(width), self._side(height)

    def _side(self, pixels: int) -> int:
        return max(-(-pixels // self.multiple) * self.multiple, self.smallest)


WAN = LengthRule(4)
HUNYUAN_VIDEO = LengthRule(4)
LTX = LengthRule(8)

CELLS_8 = SizeRule(8)
WAN_SIZE = SizeRule(16)
HUNYUAN_SIZE = SizeRule(16)
WAN_5B_SIZE = SizeRule(32)
LTX_SIZE = SizeRule(64)
"""LTX takes multiples of 32; the official workflow makes half the size first, hence 64."""
IMAGE_SIZE = SizeRule(16)
"""Latents of Qwen-Image, FLUX.2 and Z-Image."""
