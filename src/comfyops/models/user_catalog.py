"""A person's own catalogs: YAML or JSON files, and the one that `comfyops models add` keeps.

models:
  - file: my-lora.safetensors
    folder: loras
    url: https://huggingface.co/me/my-lora/resolve/main/my-lora.safetensors
    required_in: [my-pipeline]
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from comfyops.errors import CatalogError, MissingFileError
from comfyops.models.catalog import Catalog, Group, Listing, listing, load
from comfyops.models.entry import ModelEntry, written
from comfyops.support import yaml_text
from comfyops.support.files import read_bytes, storage_error, write_text
from comfyops.support.locks import locked

NAME = "models.yaml"
"""The file below the settings' `home` that `models add` keeps."""

_MOST_BYTES = 16 * 1024 * 1024
_PATIENCE = 10.0  # seconds


def read(file: Path) -> Listing:
    """A catalog file.

    Raises MissingFileError, NotJsonError, CatalogError, UnsafeNameError.
    """
    if not file.is_file():
        raise MissingFileError(f"{file} is no file.", hint="Give a catalog in YAML or JSON.", path=str(file))
    text = read_bytes(file, _MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise CatalogError(f"{file} is too large for a list of models.", path=str(file))
    return listing(_value(file, text) or {}, str(file))


def whole(own: Path, further: Sequence[Path] = ()) -> Catalog:
    """The shipped catalog with a person's own file (if it is there) and further files, which go first.

    Raises MissingFileError for a further file that is not there, NotJsonError, CatalogError, UnsafeNameError.
    """
    files = [*further, *([own] if own.is_file() else [])]
    return load([read(file) for file in files])


def add(own: Path, entries: Sequence[ModelEntry]) -> None:
    """Keep entries in a person's own catalog; one of the same folder and file is replaced.

    Raises StorageError, and what `read` raises for the file as it is.
    """
    with _held(own):
        known = read(own) if own.is_file() else Listing()
        kept = {entry.id: entry for entry in known.models}
        kept.update((entry.id, entry) for entry in entries)
        _write(own, kept.values(), known.groups)


def remove(own: Path, name: str, *, only_shown: bool = False) -> tuple[ModelEntry, ...]:
    """Drop the entries of this name from a person's own catalog, and return them; no model file is touched.

    Raises UnknownModelError, StorageError, and what `read` raises.
    """
    with _held(own) if own.is_file() else contextlib.nullcontext():
        known = read(own) if own.is_file() else Listing()
        gone = Catalog({entry.id: entry for entry in known.models}).find(name)
        if not only_shown:
            _write(own, [entry for entry in known.models if entry not in gone], known.groups)
    return gone


def _held(own: Path) -> AbstractContextManager[None]:
    """Keep other processes from changing the file meanwhile."""
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, own.parent) from error
    return locked(own.with_name(f".{own.name}.lock"), _PATIENCE, work="command that changes it")


def _value(file: Path, text: bytes) -> Any:
    """JSON, which is read many times faster, or else YAML."""
    if file.suffix.lower() == ".json":
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return yaml_text.loads(text, str(file))


def _write(own: Path, entries: Iterable[ModelEntry], groups: Iterable[Group]) -> None:
    data: dict[str, Any] = {"schema": "models/1"}
    named = {group.name: {"title": group.title, "templates": list(group.templates)} for group in groups}
    if named:
        data["groups"] = named
    write_text(own, yaml_text.dumps({**data, "models": [written(entry) for entry in entries]}))
