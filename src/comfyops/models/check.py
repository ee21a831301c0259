"""Which models are there, and whether they are what they should be. Files are looked at, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from comfyops.errors import IntegrityError, MissingFileError, StorageError, UnsafeModelError, UnsafeNameError
from comfyops.models import formats
from comfyops.models.catalog import Wanted
from comfyops.models.entry import ModelEntry
from comfyops.models.hashing import Listener, hash_files
from comfyops.models.stamps import Stamps
from comfyops.models.storage import Storage


class State(StrEnum):
    """What is the matter with a model."""

    VERIFIED = "verified"
    """Its bytes are those that were promised."""
    PRESENT = "present"
    """It is there and looks right, but its bytes were not compared: not yet, or nobody has promised any."""
    MISSING = "missing"
    MISPLACED = "misplaced"
    """A file of its name lies in a folder where the nodes that load it do not look."""
    WRONG_SIZE = "wrong_size"
    CORRUPT = "corrupt"
    """Its bytes, or its header, are not what they should be."""
    CHANGED = "changed"
    """It was verified, and is not the same file any more."""
    UNREADABLE = "unreadable"


GOOD = frozenset({State.VERIFIED, State.PRESENT})


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one model. `path` is where it lies, or where it belongs; `why` is one reason in words."""

    entry: ModelEntry
    required: bool
    state: State
    path: str
    size: int | None = None
    sha256: str | None = None
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether the model can be used."""
        return self.state in GOOD

    @property
    def bad(self) -> bool:
        """Whether something must be done: what is required is not there, or what is there is wrong."""
        return not self.good and (self.required or self.state not in (State.MISSING, State.MISPLACED))


def check(
    wanted: Sequence[Wanted],
    storage: Storage,
    stamps: Stamps,
    *,
    deep: bool = False,
    on_progress: Listener | None = None,
    rate: int | None = None,
) -> tuple[Finding, ...]:
    """Look at every model: its size, its header, its remembered hash; with `deep` every byte is read again, which is
    told to `on_progress` and may be interrupted, at most `rate` bytes a second (see `hashing.hash_files`).
    """
    findings = [_look(item, storage, stamps, deep=deep) for item in wanted]
    if not deep:
        return tuple(findings)
    paths = [Path(item.path) for item in findings if item.good]
    hashes = hash_files(paths, stamps, on_progress=on_progress, rate=rate)
    return tuple(_compared(item, hashes.get(Path(item.path))) if item.good else item for item in findings)


def _look(item: Wanted, storage: Storage, stamps: Stamps, *, deep: bool) -> Finding:
    entry = item.entry
    try:
        path = storage.locate(entry)
        if path is None:
            return _absent(item, storage)
        stat = path.stat()
    except (UnsafeNameError, StorageError) as error:
        return Finding(entry, item.required, State.UNREADABLE, "", why=error.message)
    except OSError:
        return Finding(entry, item.required, State.UNREADABLE, str(storage.root / entry.folder / entry.file))
    entry = entry.as_found(stat.st_size)
    found = Finding(entry, item.required, State.PRESENT, str(path), stat.st_size)
    if entry.size is not None and stat.st_size != entry.size:
        why = f"{stat.st_size:,} bytes, not {entry.size:,}"
        return replace(found, state=State.WRONG_SIZE, why=why)
    known = stamps.hash_of(path, stat)
    if known is None or deep:
        before = None if deep else stamps.was(path)
        return _headed(found, path, changed=before is not None and before == entry.sha256)
    return _compared(found, known)


def _absent(item: Wanted, storage: Storage) -> Finding:
    target = str(storage.target(item.entry))
    other = storage.elsewhere(item.entry)
    if other is None or (item.entry.size is not None and other.stat().st_size != item.entry.size):
        return Finding(item.entry, item.required, State.MISSING, target)
    why = f"it lies in {other.parent}; `comfyops models import {other}` puts it where it belongs"
    return Finding(item.entry, item.required, State.MISPLACED, str(other), why=why)


def _headed(found: Finding, path: Path, *, changed: bool) -> Finding:
    """Judge by the file's header, which costs one read; that it is a pickle was settled when it was put there."""
    try:
        formats.check(path, found.entry.file, allow_pickle=True)
    except (IntegrityError, UnsafeModelError) as error:
        return replace(found, state=State.CORRUPT, why=error.message)
    except (StorageError, MissingFileError) as error:
        return replace(found, state=State.UNREADABLE, why=error.message)
    if changed and found.entry.sha256:
        return replace(found, state=State.CHANGED, why="it is not the file that was verified; `--deep` reads it anew")
    return found


def _compared(found: Finding, digest: str | None) -> Finding:
    """Judge by the file's hash; None says that it could not be read."""
    promised = found.entry.sha256
    if digest is None:
        return replace(found, state=State.UNREADABLE)
    if promised is None:
        return replace(found, sha256=digest, why="nobody has promised its hash")
    if digest != promised:
        return replace(found, state=State.CORRUPT, sha256=digest, why=f"SHA-256 {digest}, not {promised}")
    return replace(found, state=State.VERIFIED, sha256=digest)
