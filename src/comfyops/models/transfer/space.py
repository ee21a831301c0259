"""Is there room on the disk for a whole plan? Asked before its first byte is fetched."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from comfyops.errors import DiskFullError
from comfyops.models.transfer.partial import leftovers
from comfyops.models.transfer.request import FileRequest, FileResult


def too_little(requests: Sequence[FileRequest], margin: float) -> dict[int, FileResult]:
    """The failed results, by number, of the requests whose disk has no room for all of them.

    `margin` is the part of the needed bytes that must stay free besides. Files of unknown size are not counted; their
    space is reserved when they begin.
    """
    disks: dict[int, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        disks[_existing(request.target.parent).stat().st_dev].append(number)
    failed: dict[int, FileResult] = {}
    for numbers in disks.values():
        needed = sum(still_needed(requests[number].target, requests[number].size) for number in numbers)
        folder = _existing(requests[numbers[0]].target.parent)
        free = shutil.disk_usage(folder).free
        if needed and needed * (1 + margin) > free:
            error = DiskFullError(
                f"The files need {_words(needed)} in {folder}, and {_words(needed * margin)} to spare, but only "
                f"{_words(free)} are free there.",
                needed_bytes=needed,
                free_bytes=free,
                path=str(folder),
            )
            for number in numbers:
                request = requests[number]
                failed[number] = FileResult(request, False, None, request.size or 0, 0.0, 0, 0, False, error)
    return failed


def still_needed(target: Path, size: int | None) -> int:
    """Bytes that the disk must still give for a file: what a partial one holds already is not counted twice."""
    try:
        if target.stat().st_size == size:
            return 0
    except OSError:
        pass
    parts = (path for path in leftovers(target) if path.suffix == ".part")
    return max(0, (size or 0) - sum(_occupied(path) for path in parts))


def _words(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _occupied(path: Path) -> int:
    try:
        info = path.stat()
    except OSError:
        return 0
    return getattr(info, "st_blocks", 0) * 512 if os.name == "posix" else info.st_size


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
