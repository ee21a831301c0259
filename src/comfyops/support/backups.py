"""Copies of files that are about to be changed.

    FOLDER/.comfyops-backups/workflow.json/20260820T101500000000Z-<SHA-256>.json

The copies of a file lie beside it, or below the given `home` where nothing can be written there. Each is named by the
moment (UTC) and its own SHA-256, is written whole or not at all, and is never changed or deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from comfyops.errors import InputError, MissingFileError, StorageError
from comfyops.support.files import read_bytes, write_bytes

FOLDER = ".comfyops-backups"

_NAME = re.compile(r"((\d{8}T\d{6}\d{6}Z)-([0-9a-f]{64}))(\.\w{1,16})?")
_STAMP = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy: `id` is moment and SHA-256, `path` where it lies, `size` bytes, `created` in UTC."""

    id: str
    path: Path
    sha256: str
    size: int
    created: datetime

    def read(self) -> bytes:
        """The bytes of the copy.

        Raises MissingFileError, and StorageError where they are no longer those that were written.
        """
        data = read_bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            words = f"The backup {self.path} is damaged: its content is not what its name says."
            raise StorageError(words, hint="Choose another one with --from.", path=str(self.path))
        return data


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and the copy of what was there before (None = there was nothing)."""

    backup: Backup
    kept: Backup | None


def backup(file: Path, home: Path | None = None) -> Backup:
    """Copy a file; where its newest copy is the same, that one is taken.

    Raises MissingFileError, StorageError, DiskFullError.
    """
    file = _real(file)
    data = read_bytes(file)
    digest = hashlib.sha256(data).hexdigest()
    known = backups(file, home)
    if known and known[0].sha256 == digest and _is_whole(known[0]):
        return known[0]
    moment = datetime.now(UTC)
    if known and moment <= known[0].created:  # the clock was set back
        moment = known[0].created + timedelta(microseconds=1)
    name = f"{moment.strftime(_STAMP)}-{digest}{_suffix(file)}"
    made = _made(_written(file, name, data, home))
    assert made is not None
    made.read()
    return made


def backups(file: Path, home: Path | None = None) -> tuple[Backup, ...]:
    """The copies of a file, the newest first.

    Raises StorageError where their folder cannot be read.
    """
    found: dict[str, Backup] = {}
    for folder in _folders(_real(file), home):
        try:
            paths = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise StorageError(f"The backups in {folder} cannot be listed.", path=str(folder)) from error
        for made in map(_made, paths):
            if made is not None:
                found.setdefault(made.id, made)
    return tuple(found[key] for key in sorted(found, reverse=True))


def restore(file: Path, wanted: str | None = None, home: Path | None = None) -> Restored:
    """Put a copy back in place, after what is there now was copied too.

    `wanted` is the beginning of the copy's id or SHA-256; None takes the newest that differs from the file. Raises
    MissingFileError where there is none, InputError where several begin so, StorageError.
    """
    file = _real(file)
    chosen = _chosen(file, backups(file, home), wanted)
    data = chosen.read()
    kept = backup(file, home) if file.exists() else None
    write_bytes(file, data)
    return Restored(chosen, kept)


def replace(file: Path, data: bytes, home: Path | None = None) -> Backup:
    """Write a file anew, after it was copied; returns the copy.

    Raises MissingFileError, StorageError, DiskFullError; the file is then as it was.
    """
    file = _real(file)
    kept = backup(file, home)
    write_bytes(file, data)
    return kept


def _chosen(file: Path, known: tuple[Backup, ...], wanted: str | None) -> Backup:
    if not known:
        raise MissingFileError(f"There is no backup of {file}.", hint="Make one with `comfyops workflow backup FILE`.")
    if wanted is None:
        now = hashlib.sha256(read_bytes(file)).hexdigest() if file.exists() else ""
        return next((item for item in known if item.sha256 != now), known[0])
    found = [item for item in known if wanted and (item.id.startswith(wanted) or item.sha256.startswith(wanted))]
    hint = "List them with `comfyops workflow restore FILE --list`."
    if not found:
        raise MissingFileError(f"There is no backup {wanted!r} of {file}.", hint=hint)
    if len({item.sha256 for item in found}) > 1:
        raise InputError(f"{len(found)} backups of {file} begin with {wanted!r}.", hint=hint)
    return found[0]


def _written(file: Path, name: str, data: bytes, home: Path | None) -> Path:
    """Write the copy into the first of the folders that takes it."""
    *others, last = _folders(file, home)
    for folder in others:
        try:
            write_bytes(folder / name, data)
            return folder / name
        except StorageError:
            continue
    write_bytes(last / name, data)
    return last / name


def _folders(file: Path, home: Path | None) -> list[Path]:
    folders = [file.parent / FOLDER / file.name]
    if home is not None:
        mark = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
        folders.append(home.expanduser() / "backups" / f"{file.name[:60]}-{mark}")
    return folders


def _made(path: Path) -> Backup | None:
    """The copy that a path is, None for any other file."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC)
        return Backup(match[1], path, match[3], path.stat().st_size, moment)
    except (ValueError, OSError):
        return None


def _is_whole(made: Backup) -> bool:
    try:
        made.read()
    except (StorageError, MissingFileError):
        return False
    return True


def _suffix(file: Path) -> str:
    return file.suffix if re.fullmatch(r"\.\w{1,16}", file.suffix) else ""


def _real(file: Path) -> Path:
    """The file behind links, so that a link stays one."""
    return Path(os.path.realpath(file))
