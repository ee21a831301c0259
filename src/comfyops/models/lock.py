"""The lock file: what exactly each model is, so that it can be had again elsewhere and later.

    {"schema": "models-lock/1", "models": {"vae/ae.safetensors": {"url": ..., "revision": ..., "size": ...,
     "sha256": ..., "said_by": "source" | "catalog" | "bytes", "at": "2026-08-20T10:15:00Z"}}}

`url` is not there where nobody has told an address of the file. `said_by` tells who promised the hash: the source, a
catalog, or nobody before the bytes came (trust on first use).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyops.errors import CatalogError, MissingFileError, NotJsonError, UnsafeNameError
from comfyops.models.entry import ModelEntry, parse
from comfyops.models.sources.huggingface import at_revision, repository
from comfyops.support.files import read_bytes, write_text

NAME = "comfyops-models.lock.json"

_SCHEMA = "models-lock/1"
_MOST_BYTES = 32 * 1024 * 1024
_SAID = ("source", "catalog", "bytes")


@dataclass(frozen=True, slots=True)
class Pin:
    """What one model is. `revision` is the source's name of the state it was taken from."""

    url: str
    size: int | None = None
    sha256: str | None = None
    revision: str | None = None
    said_by: str = "source"
    at: str = ""


@dataclass(frozen=True)
class Lock:
    """Pins by the models' ids."""

    pins: Mapping[str, Pin] = field(default_factory=dict)

    def pinned(self, entry: ModelEntry) -> ModelEntry:
        """The entry as the lock has it: its bytes are the lock's, and its first address leads to that very revision."""
        pin = self.pins.get(entry.id)
        if pin is None:
            return entry
        exact = at_revision(pin.url, pin.revision) if pin.revision and repository(pin.url) else pin.url
        urls = dict.fromkeys((*filter(None, (exact,)), *entry.urls))
        return replace(entry, urls=tuple(urls), size=pin.size, sha256=pin.sha256 or entry.sha256, variants=())

    def with_pins(self, pins: Mapping[str, Pin]) -> Lock:
        """The lock with these pins, which replace older ones."""
        return Lock({**self.pins, **pins})


def load(file: Path, *, missing_ok: bool = False) -> Lock:
    """Read a lock file.

    Raises MissingFileError (not with `missing_ok`), NotJsonError, CatalogError, UnsafeNameError.
    """
    if missing_ok and not os.path.lexists(file):  # which never raises
        return Lock()
    try:
        data = json.loads(read_bytes(file, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"{file} is not JSON.", hint="Make it anew with `comfyops models lock`.") from error
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA or not isinstance(data.get("models"), dict):
        raise CatalogError(f"{file} is no lock of models.", hint="Make one with `comfyops models lock -o FILE`.")
    return read_pins(data["models"], file)


def read_pins(models: Mapping[str, Any], file: Path) -> Lock:
    """The pins of a lock file's part `models`.

    Raises CatalogError, UnsafeNameError.
    """
    return Lock(dict(_pin(key, item, file) for key, item in models.items()))


def remembered(file: Path) -> Lock:
    """What sources said before; nothing where the file is not there or cannot be used."""
    try:
        return load(file, missing_ok=True)
    except (MissingFileError, NotJsonError, CatalogError, UnsafeNameError):
        return Lock()


def save(lock: Lock, file: Path) -> None:
    """Write a lock file, sorted, so that two of them can be compared.

    Raises StorageError, DiskFullError.
    """
    write_text(file, json.dumps({"schema": _SCHEMA, "models": written(lock)}, indent=2) + "\n")


def written(lock: Lock) -> dict[str, Any]:
    """What `read_pins` reads back."""
    return {key: {name: value for name, value in asdict(lock.pins[key]).items() if value} for key in sorted(lock.pins)}


def now() -> str:
    """The present moment, as pins write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry_of(key: str, pin: Pin) -> ModelEntry:
    """The model of a pin that no catalog knows."""
    folder, _, file = key.partition("/")
    return ModelEntry(folder, file, (pin.url,) if pin.url else (), pin.size, pin.sha256)


def _pin(key: str, data: Any, file: Path) -> tuple[str, Pin]:
    """The model's id, under which a folder has its present name, and its pin."""
    if not isinstance(data, dict) or not (isinstance(data.get("url"), str) or data.get("sha256")):
        raise CatalogError(f"{file}: {key[:120]!r} has neither address nor hash.")
    folder, _, name = key.partition("/")
    where = f"{file}, {key[:120]!r}"
    fields = {"size": data.get("size"), "sha256": data.get("sha256")}
    entry = parse({"folder": folder, "file": name, "url": data.get("url"), **fields}, where)
    said = data.get("said_by", "source")
    if said not in _SAID:
        raise CatalogError(f"{where}: 'said_by' is none of {', '.join(_SAID)}.")
    revision, at = _word(data.get("revision")), _word(data.get("at")) or ""
    return entry.id, Pin(entry.urls[0] if entry.urls else "", entry.size, entry.sha256, revision, said, at)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None
