"""The nearest known names to one that is not known: for people who mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(value: object, known: Iterable[object], count: int = 3) -> tuple[str, ...]:
    """The known values most like this one, best first; names that differ in case or folder come before others."""
    word = str(value)
    names = {str(item): None for item in known}
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(_fold(name), name)
    exact = folded.get(_fold(word))
    close = difflib.get_close_matches(_fold(word), folded, n=count, cutoff=0.6)
    found = dict.fromkeys(([exact] if exact else []) + [folded[name] for name in close])
    return tuple(found)[:count]


def nearest_choice(value: object, choices: Sequence[object]) -> tuple[str, ...]:
    """The choices most like this value; where none is, the first three."""
    return nearest(value, choices) or tuple(map(str, choices[:3]))


def _fold(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].casefold()
