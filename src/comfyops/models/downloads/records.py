"""What a process downloads, written down while it does: for other processes to see, and to go on with after a crash.

    HOME/downloads/1a2b3c4d.json     the files that are queued, running or paused, with their progress
    HOME/downloads/1a2b3c4d.lock     held by the process as long as it lives; the system frees it when it is killed
    HOME/downloads/1a2b3c4d.asks/    what other processes ask of it, one file a request (see `asks`)

A record whose lock nobody holds is of a process that ended: what it says is what may be gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from comfyops.errors import InputError, StorageError
from comfyops.models import entry as entries
from comfyops.models.check import State
from comfyops.models.plan import Item
from comfyops.models.transfer.request import DownloadProgress
from comfyops.support.files import write_text
from comfyops.support.locks import locked

FOLDER = "downloads"
_SCHEMA = "downloads/1"


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of a record: what is fetched, how important it is, how far it is."""

    item: Item
    priority: int
    progress: DownloadProgress


@dataclass(frozen=True, slots=True)
class Record:
    """What one process downloads. `place` says what models folder it works on, in the words of who started it."""

    path: Path
    process: int
    place: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[RecordedFile, ...] = ()

    @property
    def lock(self) -> Path:
        """The lock of its process."""
        return self.path.with_suffix(".lock")

    @property
    def asks(self) -> Path:
        """The folder of what is asked of its process."""
        return self.path.with_suffix(".asks")

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        try:
            with locked(self.lock, 0.0):
                return False
        except StorageError:
            return True


def save(record: Record) -> None:
    """Write a record, whole or not at all. Raises StorageError."""
    data = {"schema": _SCHEMA, "process": record.process, "place": dict(record.place)}
    write_text(record.path, json.dumps({**data, "files": [_written(file) for file in record.files]}))


def load(path: Path) -> Record | None:
    """A record; None where it is not there or makes no sense."""
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != _SCHEMA:
            return None
        files = tuple(_read(item, str(path)) for item in data["files"])
        return Record(path, int(data["process"]), dict(data["place"]), files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError):
        return None


def all_of(home: Path) -> tuple[Record, ...]:
    """Every record in a home folder, the oldest first."""
    found = [load(path) for path in sorted((home / FOLDER).glob("*.json"), key=_age)]
    return tuple(record for record in found if record is not None)


def left(home: Path) -> tuple[Record, ...]:
    """The records of processes that ended, with the files that had not come by then; those that had failed left out."""
    found = []
    for record in all_of(home):
        if not record.alive and (current := load(record.path)) is not None:
            files = tuple(file for file in current.files if file.progress.status != "failed")
            found.append(replace(current, files=files))
    return tuple(record for record in found if record.files)


def forget(record: Record) -> None:
    """Remove a record and what belongs to it."""
    for path in (*record.asks.glob("*"), record.path):
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):
        record.asks.rmdir()


def drop(home: Path, targets: Iterable[str]) -> None:
    """Forget the files with these targets that ended processes have left: somebody else fetches them now, or nobody is
    to. Raises StorageError.
    """
    gone = set(targets)
    for record in left(home):
        kept = tuple(file for file in record.files if file.item.target not in gone)
        if not kept:
            forget(record)
        elif len(kept) < len(record.files):
            save(Record(record.path, record.process, record.place, kept))


def _written(file: RecordedFile) -> dict[str, Any]:
    item = {"model": entries.written(file.item.entry), "target": file.item.target, "state": file.item.state.value}
    return {**item, "priority": file.priority, "progress": asdict(file.progress)}


def _read(data: Mapping[str, Any], where: str) -> RecordedFile:
    item = Item(entries.parse(data["model"], where), str(data["target"]), State(data["state"]))
    return RecordedFile(item, int(data["priority"]), DownloadProgress(**data["progress"]))


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
