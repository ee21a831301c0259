"""Which model files lie in folders: scanned, not opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyops.models.folders import EXTENSIONS, Folders

_ENDINGS = EXTENSIONS | {".gguf"}
_OTHER_ENDINGS = {"configs": frozenset({".yaml"})}
_SKIPPED = frozenset({".git", ".cache", "__pycache__"})
_DEEPEST = 40  # folders within folders; a folder that links to itself ends before that


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file: the folder's name, the file's name as nodes know it (with "/"), bytes, and where it lies.

    `size` is None where it could not be read.
    """

    folder: str
    name: str
    size: int | None
    path: str = ""


@dataclass(frozen=True)
class Inventory:
    """All model files, by folder and name; `unreadable` are folders and files that could not be looked into."""

    files: tuple[ModelFile, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(item.size or 0 for item in self.files)


def scan(folders: Folders) -> Inventory:
    """Look into every folder and all below it. Where a name is there twice, the first counts, as in ComfyUI."""
    found: dict[tuple[str, str], ModelFile] = {}
    unreadable: dict[str, None] = {}
    for folder, paths in folders.paths.items():
        endings = _OTHER_ENDINGS.get(folder, _ENDINGS)
        for path in paths:
            for name, place in _walk(path, unreadable):
                if Path(name).suffix.lower() in endings and (folder, name) not in found:
                    found[folder, name] = ModelFile(folder, name, _size(place, unreadable), str(place))
    return Inventory(tuple(found[key] for key in sorted(found)), tuple(unreadable))


def _walk(root: Path, unreadable: dict[str, None]) -> Iterator[tuple[str, Path]]:
    """(name below the root, path) of each file; links are followed, but into no folder twice on one way down."""
    pending: list[tuple[Path, str, tuple[str, ...]]] = [(root, "", ())]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            real = os.path.realpath(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or folder != root:
                unreadable[str(folder)] = None
            continue
        if real in above or len(above) > _DEEPEST:
            continue
        for entry in entries:
            if _is_folder(entry):
                if entry.name not in _SKIPPED:
                    pending.append((Path(entry.path), f"{prefix}{entry.name}/", (*above, real)))
            else:
                yield prefix + entry.name, Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _size(path: Path, unreadable: dict[str, None]) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # a link to nothing
        unreadable[str(path)] = None
        return None
