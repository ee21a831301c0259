"""How good a video looks, in three plain figures from 0 to 1 measured on some of its frames.

They are StoryCore's: sharpness is the variance of the Laplacian over 500, consistency falls with the mean squared
difference of frames that follow one another (over 10000), colour is the variance of the colours over 1000. They compare
results of the same wish; they know nothing of what was wished for.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from PIL import ImageChops, ImageFilter, ImageStat
from PIL.Image import Image

_SAMPLES, _PAIRS = 5, 5
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)


def measured_quality(frames: Sequence[Image]) -> dict[str, float]:
    """quality_score, sharpness_score, temporal_consistency, color_score; empty without frames. Reads them once."""
    if not frames:
        return {}
    samples, starts = _spread(len(frames), _SAMPLES), _spread(len(frames) - 1, _PAIRS)
    wanted = {*samples, *starts, *(at + 1 for at in starts)}
    kept = {at: frame.convert("RGB") for at, frame in enumerate(frames) if at in wanted}
    sharpness = statistics.fmean(_sharpness(kept[at]) for at in samples)
    color = statistics.fmean(_color(kept[at]) for at in samples)
    consistency = statistics.fmean(_likeness(kept[at], kept[at + 1]) for at in starts) if starts else 1.0
    return {
        "quality_score": 0.4 * sharpness + 0.4 * consistency + 0.2 * color,
        "sharpness_score": sharpness,
        "temporal_consistency": consistency,
        "color_score": color,
    }


def _spread(count: int, most: int) -> list[int]:
    """At most so many numbers below count, evenly spread."""
    return sorted({at * count // most for at in range(most)}) if count > 0 else []


def _sharpness(frame: Image) -> float:
    (variance,) = ImageStat.Stat(frame.convert("L").filter(_LAPLACIAN)).var
    return min(1.0, float(variance) / 500)


def _color(frame: Image) -> float:
    return min(1.0, statistics.fmean(ImageStat.Stat(frame).var) / 1000)


def _likeness(one: Image, other: Image) -> float:
    difference = ImageChops.difference(one, other)
    squares = statistics.fmean(rms**2 for rms in ImageStat.Stat(difference).rms)
    return max(0.0, 1 - squares / 10000)
