"""Hashes that are remembered, so that a file is read once and not at each check.

A hash counts as long as the file's size, time of change (ns) and inode are those of the moment when it was read. Who
changes a file and sets these back is found by `verify`, which reads every byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from comfyops.errors import StorageError
from comfyops.support.files import write_text

_SCHEMA = "stamps/1"


class Stamp(NamedTuple):
    """How a file looked when its SHA-256 was computed."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


@dataclass
class Stamps:
    """The stamps of one storage, by path. `save` writes them where something is new."""

    file: Path
    known: dict[str, Stamp]
    new: dict[str, Stamp | None] = field(default_factory=dict)

    def hash_of(self, path: Path, stat: os.stat_result) -> str | None:
        """The remembered hash of a file as it is now, None where it was never computed or the file has changed."""
        stamp = self.known.get(str(path))
        fits = stamp is not None and stamp[:3] == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return stamp.sha256 if fits and stamp is not None else None

    def was(self, path: Path) -> str | None:
        """The hash that a file had when it was read last, whatever it has now."""
        stamp = self.known.get(str(path))
        return stamp.sha256 if stamp else None

    def remember(self, path: Path, stat: os.stat_result, digest: str) -> None:
        """Keep the hash of a file that looked like this before it was read."""
        stamp = Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ino, digest)
        self.known[str(path)] = self.new[str(path)] = stamp

    def forget(self, path: Path) -> None:
        """Drop what is known of a file."""
        if self.known.pop(str(path), None) is not None:
            self.new[str(path)] = None

    def save(self) -> None:
        """Write down what is new, beside what other processes wrote meanwhile; a folder that cannot be written costs
        time at the next check and nothing else.
        """
        if not self.new:
            return
        there: dict[str, Stamp | None] = {**load(self.file).known, **self.new}
        kept = {path: stamp for path, stamp in there.items() if stamp is not None}
        try:
            write_text(self.file, json.dumps({"schema": _SCHEMA, "files": kept}))
        except StorageError:
            return
        self.new = {}


def load(file: Path) -> Stamps:
    """The stamps in a file; none where it is not there or is not what it should be."""
    try:
        data = json.loads(file.read_bytes())
        files: Mapping[str, Any] = data["files"] if data["schema"] == _SCHEMA else {}
        known = {path: Stamp(int(a), int(b), int(c), str(d)) for path, (a, b, c, d) in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        known = {}
    return Stamps(file, known)
