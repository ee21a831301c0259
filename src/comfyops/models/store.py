"""One copy of each model's bytes: equal files become links to one of them, or to a store that names files by content.

STORE/sha256/ab/ab12...   one file of each content, named by its SHA-256

What is to be done is a plan first, that shows the saving. Each link takes its file's place by a rename: a crash leaves
the file or the link, never neither. A hard link is a full name of the file; a symbolic one breaks where its file goes,
and reaches over disks, so that a store for symbolic links may lie anywhere: where it can have no hard link it gets a
copy, which is proven.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from comfyops.errors import IntegrityError, StorageError
from comfyops.models.folders import EXTENSIONS
from comfyops.models.hashing import hash_files
from comfyops.models.stamps import Stamps
from comfyops.support.files import storage_error, writing

_ENDINGS = EXTENSIONS | {".gguf"}
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK})
_PIECE = 1 << 20
_SKIPPED = frozenset({".git", ".cache", ".comfyops", ".comfyops-quarantine"})


class Way(StrEnum):
    """How a file is given another name."""

    HARD = "hard"
    SYMBOLIC = "symbolic"


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as it was seen: its place, and what tells whether it is still the same one."""

    path: Path
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def is_unchanged(self) -> bool:
        """Whether it is still the file that was seen."""
        try:
            return _seen(self.path) == self
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Link:
    """A file that is to become a link to `target`, and the bytes that this frees."""

    copy: Copy
    target: Path
    sha256: str
    freed: int


@dataclass(frozen=True)
class DedupePlan:
    """What would be linked. `stored` are files that get a name in the store first: (file, name)."""

    way: Way
    links: tuple[Link, ...]
    stored: tuple[tuple[Copy, Path], ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def saving(self) -> int:
        """Bytes that it frees."""
        return sum(link.freed for link in self.links)


@dataclass(frozen=True, slots=True)
class Deduped:
    """What was done: bytes that became free, links made, and why others were not: (file, reason)."""

    freed: int
    linked: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]


def files_of(roots: Iterable[Path], unreadable: list[str] | None = None) -> tuple[Copy, ...]:
    """The model files in these folders and all below them, each once; links, which take no space, are left out.

    Folders that cannot be looked into are added to `unreadable`.
    """
    found: dict[Path, Copy] = {}

    def missed(error: OSError) -> None:
        if unreadable is not None and str(error.filename) not in unreadable:
            unreadable.append(str(error.filename))

    for root in roots:
        for folder, folders, names in os.walk(root, onerror=missed):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix.lower() in _ENDINGS and not path.is_symlink():
                    with suppress(OSError):
                        found.setdefault(path, _seen(path))
    return tuple(found.values())


def plan(copies: Sequence[Copy], stamps: Stamps, way: Way = Way.HARD, store: Path | None = None) -> DedupePlan:
    """What could be linked: files of equal size are read, those of equal SHA-256 are one. Changes nothing.

    Hard links hold within one disk, so copies on several disks stay one on each. With a store every file gets its name
    in it. Raises StorageError where a store for hard links lies on another disk than a file that it is to hold.
    """
    wanted = [copy for copy in copies if copy.size > 0] if store else list(_same_size(copies))
    hashes = hash_files([copy.path for copy in _one_per_inode(wanted)], stamps)
    by_inode = {(copy.device, copy.inode): hashes.get(copy.path) for copy in _one_per_inode(wanted)}
    groups: dict[tuple[str, int], list[Copy]] = {}
    unreadable = []
    for copy in wanted:
        digest = by_inode[copy.device, copy.inode]
        if digest is None:
            unreadable.append(str(copy.path))
        else:
            groups.setdefault((digest, copy.device if way is Way.HARD else 0), []).append(copy)
    links: list[Link] = []
    stored: list[tuple[Copy, Path]] = []
    for (digest, _), members in groups.items():
        target = members[0]
        place = target.path
        if store is not None:
            place = store_path(store, digest)
            stored += [] if place.exists() else [(target, _reachable(target, place, way))]
        links += _links(members, target, place, digest, way)
    return DedupePlan(way, tuple(links), tuple(stored), tuple(unreadable))


def apply(chosen: DedupePlan, stamps: Stamps) -> Deduped:
    """Do what the plan says. A file that has changed since, or cannot be linked, is left as it is and named.

    Raises StorageError where the store cannot be written, IntegrityError where a file changes while it is copied there.
    """
    for copy, place in chosen.stored:
        _into_store(copy, place, chosen.way)
    freed, linked, failed = 0, [], []
    for link in chosen.links:
        try:
            _replace(link, chosen.way)
        except OSError as error:
            failed.append((link.copy.path, _reason(error, chosen.way)))
            continue
        stamps.remember(link.copy.path, link.copy.path.stat(), link.sha256)
        linked.append(link.copy.path)
        freed += link.freed
    return Deduped(freed, tuple(linked), tuple(failed))


def store_path(store: Path, digest: str) -> Path:
    """Where a store keeps the bytes of this SHA-256."""
    return store / "sha256" / digest[:2] / digest


def _links(members: Sequence[Copy], target: Copy, place: Path, digest: str, way: Way) -> Iterator[Link]:
    """A link for each member that is not the target itself; the last name of a file frees its bytes."""
    freed: set[tuple[int, int]] = {(target.device, target.inode)}
    for copy in members:
        inode = (copy.device, copy.inode)
        is_target = copy.path == place or inode == (target.device, target.inode)
        if is_target and (way is Way.HARD or place == target.path):
            continue
        yield Link(copy, place, digest, 0 if inode in freed else copy.size)
        freed.add(inode)


def _same_size(copies: Sequence[Copy]) -> Iterator[Copy]:
    """The files that another file, not another name of the same one, could equal."""
    inodes: dict[int, set[tuple[int, int]]] = {}
    for copy in copies:
        inodes.setdefault(copy.size, set()).add((copy.device, copy.inode))
    return (copy for copy in copies if copy.size > 0 and len(inodes[copy.size]) > 1)


def _one_per_inode(copies: Sequence[Copy]) -> list[Copy]:
    return list({(copy.device, copy.inode): copy for copy in reversed(copies)}.values())


def _reachable(copy: Copy, place: Path, way: Way) -> Path:
    there = next(path for path in place.parents if path.exists())
    if way is Way.HARD and there.stat().st_dev != copy.device:
        words = f"The store {place.parents[2]} lies on another disk than {copy.path}."
        hint = "Choose a folder on the same disk as the models, or --symbolic."
        raise StorageError(words, hint=hint, path=str(place.parents[2]))
    return place


def _into_store(copy: Copy, place: Path, way: Way) -> None:
    if not copy.is_unchanged:
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(copy.path, place)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise storage_error(error, place) from error
        if way is Way.HARD:
            words = f"{copy.path} cannot have a second name in {place.parents[2]}: {_reason(error, way)}."
            raise StorageError(words, hint="Use --symbolic.", path=str(place)) from error
        _copied(copy, place)


def _copied(copy: Copy, place: Path) -> None:
    try:
        source = copy.path.open("rb")
    except OSError as error:
        raise storage_error(error, copy.path) from error
    digest = hashlib.sha256()
    with source, writing(place) as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != place.name:
            words = f"{copy.path} changed while it was copied."
            raise IntegrityError(words, hint="Try again.", path=str(copy.path))


def _reason(error: OSError, way: Way) -> str:
    if way is Way.HARD and error.errno in _NO_HARD_LINKS:
        return "hard links are not permitted there; --symbolic makes links that may be"
    return (error.strerror or str(error) or type(error).__name__).lower()


def _replace(link: Link, way: Way) -> None:
    """Put a link into the place of a file. Raises OSError."""
    if not link.copy.is_unchanged:
        raise OSError(0, "it has changed meanwhile")
    if link.target.stat().st_size != link.copy.size:
        raise OSError(0, "what it equals has changed meanwhile")
    temporary = link.copy.path.with_name(f".comfyops-link.{uuid.uuid4().hex}")
    try:
        if way is Way.HARD:
            os.link(link.target, temporary)
        else:
            temporary.symlink_to(link.target.absolute())
        temporary.replace(link.copy.path)
    finally:
        temporary.unlink(missing_ok=True)


def _seen(path: Path) -> Copy:
    stat = path.lstat()
    return Copy(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
