"""Files that a person has already, put where they belong: proven by their hash or size first, linked or copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from comfyops.errors import IntegrityError, MissingFileError
from comfyops.models import formats
from comfyops.models.entry import ModelEntry
from comfyops.models.hashing import hash_file
from comfyops.models.stamps import Stamps
from comfyops.models.storage import Storage
from comfyops.support.files import writing

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """A model that was put in its place. `linked` says that no second copy of its bytes was made."""

    entry: ModelEntry
    source: str
    path: str
    size: int
    sha256: str
    linked: bool


def match(path: Path, digest: str, models: Iterable[ModelEntry]) -> ModelEntry | None:
    """The model that a file is: by its SHA-256, else by its name where nobody has promised that model's hash."""
    size = path.stat().st_size
    named = None
    for entry in models:
        if digest in (entry.sha256, *(known for _, known in entry.variants)):
            return entry
        if entry.sha256 is None and entry.file.rpartition("/")[2] == path.name and entry.size in (None, size):
            named = entry
    return named


def _uncounted(_count: int) -> None:
    return None


def place(
    path: Path,
    entry: ModelEntry,
    storage: Storage,
    stamps: Stamps,
    *,
    allow_pickle: bool = False,
    copied: Callable[[int], None] = _uncounted,
) -> Placed:
    """Put a file in a model's place. The file itself stays where it is; one of another volume is read once.

    `copied` is told how many bytes each piece of a copy had.

    Raises IntegrityError where it is not that model, UnsafeModelError, MissingFileError, StorageError, DiskFullError.
    """
    target = storage.target(entry)
    try:
        stat = path.stat()
        digest = hash_file(path)[0] if _same_volume(stat, target) else None
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read.", path=str(path)) from error
    _promised(path, entry.as_found(stat.st_size), digest, stat.st_size)
    _is_a_model(path, entry, allow_pickle=allow_pickle)
    linked = digest is not None and ((target.exists() and target.samefile(path)) or _linked(path, target))
    if digest is None or not linked:
        digest = _copied(path, target, entry.as_found(stat.st_size), digest, copied)
    stamps.remember(target, target.stat(), digest)
    return Placed(entry, str(path), str(target), stat.st_size, digest, linked)


def _same_volume(stat: os.stat_result, target: Path) -> bool:
    """Whether a file may be linked to the target: they are on one volume, as far as that can be told."""
    there = next(folder for folder in (target, *target.parents) if folder.exists())
    return there.stat().st_dev == stat.st_dev


def _promised(path: Path, entry: ModelEntry, digest: str | None, size: int) -> None:
    """Compare a file with its promise; a digest of None was not computed yet."""
    if None not in (entry.sha256, digest) and digest != entry.sha256:
        words = f"{path} is not {entry.id}: its SHA-256 is {digest}, not {entry.sha256}."
        raise IntegrityError(words, hint="Fetch the model instead.", path=str(path))
    if entry.size is not None and size != entry.size:
        words = f"{path} is not {entry.id}: it has {size:,} bytes, not {entry.size:,}."
        raise IntegrityError(words, hint="Fetch the model instead.", path=str(path))


def _is_a_model(path: Path, entry: ModelEntry, *, allow_pickle: bool) -> None:
    """See that a file is what its name says; nothing of it is quarantined where it is not, for it is a person's own."""
    try:
        formats.check(path, entry.file, allow_pickle=allow_pickle)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint="Fetch the model instead.", path=str(path)) from error


def _linked(path: Path, target: Path) -> bool:
    """Make a hard link, whole or not at all; False where the file system has none or it is another one."""
    temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}.link")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        os.link(path.resolve(), temporary)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        return False
    return True


def _copied(path: Path, target: Path, entry: ModelEntry, digest: str | None, counted: Callable[[int], None]) -> str:
    """Copy a file, and see that what was copied is what was promised, and what was hashed before where it was."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read.", path=str(path)) from error
    copied = sha256()

    def write(data: bytes) -> int:
        copied.update(data)
        counted(len(data))
        return file.write(data)

    with source, writing(target) as file:
        shutil.copyfileobj(source, _Sink(write), _PIECE)
        _promised(path, entry, copied.hexdigest(), file.tell())
        if digest not in (None, copied.hexdigest()):
            raise IntegrityError(f"{path} changed while it was copied.", hint="Try again.", path=str(path))
    return copied.hexdigest()


@dataclass(frozen=True)
class _Sink:
    """Something to write to."""

    write: Callable[[bytes], int]
