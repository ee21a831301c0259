"""Models that a person fetches by hand: which address, which place; and a watch on those places."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from comfyops.models import formats
from comfyops.models.entry import ModelEntry
from comfyops.models.sources import huggingface
from comfyops.models.storage import Storage

LOOK_EVERY = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a person has to do for one model: fetch `urls` (any of them) and save it as `path`."""

    entry: ModelEntry
    urls: tuple[str, ...]
    path: str
    page: str | None = None


def steps(entries: Sequence[ModelEntry], storage: Storage) -> tuple[Step, ...]:
    """The steps for models.

    Raises UnsafeNameError.
    """
    return tuple(_step(entry, storage) for entry in entries)


def arrivals(steps: Sequence[Step], timeout: float | None = None, every: float = LOOK_EVERY) -> Iterator[Step]:
    """Each step whose file has come and grows no longer, as it is seen; ends when all are there, or after `timeout` s.

    A file is taken for whole when its size is the promised one, or, where none is, the same at two looks and no less
    than its own header tells.
    """
    waiting = {step.path: step for step in steps}
    before: dict[str, int] = {}
    deadline = None if timeout is None else time.monotonic() + timeout
    while waiting:
        for path, step in list(waiting.items()):
            size = _size(Path(path))
            expected = step.entry.size
            is_still = expected is None and before.get(path) == size
            if size and (size == expected or (is_still and size >= (formats.least_size(Path(path)) or 0))):
                del waiting[path]
                yield step
            elif size:
                before[path] = size
        if deadline is not None and time.monotonic() >= deadline:
            return
        if waiting:
            time.sleep(every)


def _step(entry: ModelEntry, storage: Storage) -> Step:
    hub = next((url for url in entry.urls if huggingface.repository(url)), None)
    return Step(entry, entry.urls, str(storage.target(entry)), entry.page or (huggingface.page(hub) if hub else None))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
