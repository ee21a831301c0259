"""StoryCore's chain of smaller wishes, for requests that would rather have less than nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEWEST_FRAMES, FEWEST_STEPS = 61, 20
SMALLEST = {"width": 512, "height": 384, "num_frames": 31, "steps": 15}


def smaller_wishes(known: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """(In words, the parameters to change), in order: half the frames, half the steps too, then the smallest of all.

    `known` are the parameters as far as they are known. Nothing ever becomes larger.
    """
    changes: dict[str, int] = {}
    for name, least, words in (("num_frames", FEWEST_FRAMES, "fewer frames"), ("steps", FEWEST_STEPS, "fewer steps")):
        now = known.get(name)
        if isinstance(now, int) and max(now // 2, least) < now:
            changes = {**changes, name: max(now // 2, least)}
            yield words, changes
    present = {**known, **changes}
    smallest = {name: most for name, most in SMALLEST.items() if (present.get(name) or most + 1) > most}
    if smallest:
        yield "smaller", {**changes, **smallest}
