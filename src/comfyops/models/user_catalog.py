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
from pathlib import Path
from typing import Any

from comfyops.errors import CatalogError, MissingFileError
from comfyops.models.catalog import Catalog, Listing, listing, load
from comfyops.models.entry import ModelEntry, written
from comfyops.support import yaml_text
from comfyops.support.files import read_bytes, write_text

NAME = "models.yaml"
"""The file below the settings' `home` that `models add` keeps."""

_MOST_BYTES = 16 * 1024 * 1024


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
    kept = {entry.id: entry for entry in (read(own).models if own.is_file() else ())}
    kept.update((entry.id, entry) for entry in entries)
    _write(own, kept.values())


def remove(own: Path, name: str, *, only_shown: bool = False) -> tuple[ModelEntry, ...]:
    """Drop the entries of this name from a person's own catalog, and return them; no model file is touched.

    Raises UnknownModelError, StorageError, and what `read` raises.
    """
    known = {entry.id: entry for entry in (read(own).models if own.is_file() else ())}
    gone = Catalog(known).find(name)
    if not only_shown:
        _write(own, [entry for entry in known.values() if entry not in gone])
    return gone


def _value(file: Path, text: bytes) -> Any:
    """JSON, which is read many times faster, or else YAML."""
    if file.suffix.lower() == ".json":
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return yaml_text.loads(text, str(file))


def _write(own: Path, entries: Iterable[ModelEntry]) -> None:
    models = [written(entry) for entry in entries]
    write_text(own, yaml_text.dumps({"schema": "models/1", "models": models}))
