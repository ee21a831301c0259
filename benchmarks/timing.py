"""Taking times: repeated, interleaved with what they are compared to, and told as medians."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

Seconds = dict[str, float]


def interleaved(work: Mapping[str, Callable[[], object]], repeats: int) -> Seconds:
    """The median seconds of each piece of work, all done in turn `repeats` times, so that a busy moment hits all."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for do in work.values():
        do()  # warm: files in the disk cache, code compiled
    for _ in range(repeats):
        for name, do in work.items():
            began = time.perf_counter()
            do()
            taken[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in taken.items()}


async def interleaved_async(work: Mapping[str, Callable[[], Awaitable[object]]], repeats: int) -> Seconds:
    """The same for work on an event loop."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for do in work.values():
        await do()
    for _ in range(repeats):
        for name, do in work.items():
            began = time.perf_counter()
            await do()
            taken[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in taken.items()}


def command(*arguments: str, cwd: str | None = None) -> Callable[[], object]:
    """Running a program to its end, output thrown away; raises CalledProcessError where it fails."""

    def do() -> object:
        return _run(arguments, cwd)

    return do


def _run(arguments: Sequence[str], cwd: str | None) -> object:
    return subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
