"""Alpha mattes for the frames of a video, in three ways; each is a grey picture, white where the subject is.

THRESHOLD is a hard matte: what differs from the background (the colour of the frame's border) by more than a threshold.
EDGE_AWARE starts from how much each pixel differs and lets the edges of the picture itself shape the matte, by a guided
filter (He, Sun and Tang, "Guided Image Filtering", ECCV 2010). SEMANTIC asks a server's background-removal model.
Where a model makes alpha itself, the first two start from that alpha instead of colours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from PIL import Image

from comfyops.execution import extras


class AlphaMode(StrEnum):
    """How an alpha matte is made."""

    MODEL = "model"  # as the model gives it
    THRESHOLD = "threshold"
    EDGE_AWARE = "edge_aware"
    SEMANTIC = "semantic"


_FULL_DIFFERENCE = 0.35
"""Distance in RGB (0 to 1 per channel) from the background at which a pixel counts as subject beyond doubt."""

_RADIUS, _EPSILON = 8, 1e-4


def threshold(frame: Image.Image, alpha: Image.Image | None = None, level: float = 0.5) -> Image.Image:
    """A hard matte: 255 where `alpha` (else the difference from the background) exceeds `level`, else 0."""
    np = extras.numpy()
    return Image.fromarray(((_soft(frame, alpha) > level) * 255).astype(np.uint8))


def edge_aware(frame: Image.Image, alpha: Image.Image | None = None) -> Image.Image:
    """A soft matte whose borders follow the edges of the frame."""
    np = extras.numpy()
    guide = np.asarray(frame.convert("L"), dtype=np.float64) / 255
    refined = _guided(np, guide, _soft(frame, alpha), min(_RADIUS, min(frame.size) // 2))
    return Image.fromarray((np.clip(refined, 0, 1) * 255).round().astype(np.uint8))


def _soft(frame: Image.Image, alpha: Image.Image | None) -> Any:
    np = extras.numpy()
    if alpha is not None:
        return np.asarray(alpha.convert("L"), dtype=np.float64) / 255
    colours = np.asarray(frame.convert("RGB"), dtype=np.float64) / 255
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    distance = np.linalg.norm(colours - np.median(border, axis=0), axis=2)
    return np.clip(distance / _FULL_DIFFERENCE, 0, 1)


def _guided(np: Any, guide: Any, matte: Any, radius: int) -> Any:
    mean_guide, mean_matte = _box(np, guide, radius), _box(np, matte, radius)
    covariance = _box(np, guide * matte, radius) - mean_guide * mean_matte
    variance = _box(np, guide * guide, radius) - mean_guide * mean_guide
    slope = covariance / (variance + _EPSILON)
    offset = mean_matte - slope * mean_guide
    return _box(np, slope, radius) * guide + _box(np, offset, radius)


def _box(np: Any, values: Any, radius: int) -> Any:
    """The mean of each pixel's square neighbourhood, with edges repeated."""
    side = 2 * radius + 1
    sums = np.pad(values, radius, mode="edge").cumsum(axis=0).cumsum(axis=1)
    sums = np.pad(sums, ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return total / (side * side)
