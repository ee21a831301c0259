"""Folders with model files that others filled: a network share, another installation, Hugging Face's own cache.

A file counts by its name and size, and is proven by its hash when it is put in place. In Hugging Face's cache
(`HF_HUB_CACHE/models--OWNER--NAME/blobs/SHA256`) the hash is the name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from comfyops.models.entry import ENDINGS, ModelEntry

_SKIPPED = frozenset({".git", ".cache", "__pycache__", ".comfyops", ".comfyops-quarantine"})


@dataclass(frozen=True)
class ModelFolders:
    """Folders to look into, in order; each is listed once, when something is looked for. What is not there is no
    error: a share may not be mounted today.
    """

    roots: tuple[Path, ...] = ()
    hub_cache: Path | None = None
    _listed: dict[Path, dict[str, list[Path]]] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def find(self, entry: ModelEntry) -> Iterator[Path]:
        """Files that may be the model, the likeliest first; none where neither size nor hash is known."""
        if entry.sha256 is not None and self.hub_cache is not None:
            yield from sorted(self.hub_cache.glob(f"models--*/blobs/{entry.sha256}"))
        if entry.sha256 is None and entry.size is None:
            return
        for root in self.roots:
            for path in sorted(self._named(root, Path(entry.file).name), key=lambda path: _unlike(path, entry)):
                if _fits(path, entry.size):
                    yield path

    def _named(self, root: Path, name: str) -> list[Path]:
        with self._lock:
            if root not in self._listed:
                self._listed[root] = _listing(root)
            return self._listed[root].get(name, [])


def _listing(root: Path) -> dict[str, list[Path]]:
    """The model files below a folder by name; links to folders are not followed."""
    found: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in names:
            if Path(name).suffix.lower() in ENDINGS:
                found.setdefault(name, []).append(Path(folder, name))
    return found


def _unlike(path: Path, entry: ModelEntry) -> tuple[bool, bool, str]:
    """A key that sorts a file of the same folder and name first."""
    text = path.as_posix()
    return not text.endswith(f"/{entry.folder}/{entry.file}"), not text.endswith(f"/{entry.file}"), text


def _fits(path: Path, size: int | None) -> bool:
    try:
        return path.is_file() and size in (None, path.stat().st_size)
    except OSError:
        return False
