"""Where a picture comes from: a record beside it (`NAME.json`) and, in a PNG, inside it (text chunk `comfyops`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic import TypeAdapter, ValidationError

from comfyops import __version__
from comfyops.errors import MissingFileError, RunFailedError
from comfyops.support import png_text
from comfyops.support.files import read_bytes, write_bytes, write_text

KEYWORD = "comfyops"
"""Keyword of the text chunk."""

SIMULATED = "comfyops_simulated"
"""Keyword of the text chunk by which our simulator marks its pictures."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How one picture was made. Times are seconds since the epoch by our clock, `seconds` how long the run took.

    `sha256` is that of the file as it lies there ("" inside the file itself), `sha256_received` that of the bytes the
    server gave. `uploads` maps the names of pictures that were used to their SHA-256.
    """

    panel: str
    project: str
    positive: str
    negative: str
    seed: int
    seed_source: str
    family: str
    models: tuple[str, ...]
    width: int
    height: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    graph: dict[str, Any]
    uploads: dict[str, str]
    fingerprint: str
    backend: str
    backend_version: str
    run_id: str
    cached: bool
    simulated: bool
    submitted_at: float
    finished_at: float
    seconds: float
    file: str
    sha256_received: str
    sha256: str = ""
    notes: tuple[str, ...] = ()
    comfyops: str = __version__


_ADAPTER = TypeAdapter(Provenance)


def dumps(record: Provenance) -> str:
    """The record as JSON text."""
    return json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n"


def read(path: Path) -> Provenance | None:
    """The record in a file, None where there is none or it is not one of ours."""
    try:
        return _ADAPTER.validate_json(read_bytes(path))
    except (MissingFileError, ValidationError):
        return None


def read_picture(path: Path) -> Provenance | None:
    """The record inside a PNG, None where there is none."""
    try:
        text = png_text.texts(read_bytes(path)).get(KEYWORD)
        return _ADAPTER.validate_json(text) if text else None
    except (MissingFileError, ValidationError, ValueError):
        return None


def beside(picture: Path) -> Path:
    """Where the record of a picture lies."""
    return picture.with_suffix(".json")


def store(picture: Path, data: bytes, record: Provenance) -> Provenance:
    """Write a picture with its record, and return the record completed by the file's hash.

    The picture is written first: after a crash in between, its hash does not fit the old record, and it counts as
    missing. Raises StorageError.
    """
    if png_text.is_png(data):
        data = png_text.with_text(data, KEYWORD, dumps(record))
    complete = replace(record, sha256=sha256(data))
    write_bytes(picture, data)
    write_text(beside(picture), dumps(complete))
    return complete


def intact(picture: Path, record: Provenance) -> bool:
    """Whether the picture is there exactly as it was written."""
    try:
        return sha256(read_bytes(picture)) == record.sha256
    except MissingFileError:
        return False


def checked_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture that can be decoded to its end.

    Raises RunFailedError for one that cannot: the server wrote it badly.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
            size = image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _damaged() from error
    if png_text.is_png(data) and not png_text.is_whole(data):
        raise _damaged()
    return size


def _damaged() -> RunFailedError:
    return RunFailedError("The picture that the server gave is damaged.", hint="Render it again.")


def is_simulated(data: bytes) -> bool:
    """Whether a picture says that it was drawn by our simulator."""
    try:
        return png_text.is_png(data) and SIMULATED in png_text.texts(data)
    except ValueError:
        return False


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def fingerprint(graph: Mapping[str, Any], uploads: Mapping[str, str]) -> str:
    """What makes a picture what it is, as one hash: the graph, and the hashes of the pictures it loads."""
    text = json.dumps({"format": 1, "graph": graph, "uploads": dict(uploads)}, sort_keys=True, ensure_ascii=True)
    return sha256(text.encode())
