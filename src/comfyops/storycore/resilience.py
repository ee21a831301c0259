"""StoryCore's chain of smaller wishes, for requests that would rather have less than nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEWEST_FRAMES, FEWEST_STEPS = 61, 20
SMALLEST = {"width": 512, "height": 384, "num_frames": 31, "steps": 15}


def smaller_wishes(parameters: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(What changes, parameters), in order: half the frames, half the steps as well, then the smallest of all.

    `parameters` must hold num_frames and steps where they are to be halved. A wish is never larger than the first one.
    """
    wish = dict(parameters)
    for name, least, words in (("num_frames", FEWEST_FRAMES, "fewer frames"), ("steps", FEWEST_STEPS, "fewer steps")):
        now = wish.get(name)
        if isinstance(now, int) and max(now // 2, least) < now:
            wish = {**wish, name: max(now // 2, least)}
            yield words, wish
    least_wish = {name: min(wish.get(name) or most, most) for name, most in SMALLEST.items()}
    if any(wish.get(name) != value for name, value in least_wish.items()):
        yield "smaller", {**wish, **least_wish}
