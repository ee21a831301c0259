"""Outputs of a run as local files: fetched, named safely, written whole, never over something else."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comfyops.backends.backend import Backend
from comfyops.backends.events import Output
from comfyops.jobs import output_names
from comfyops.support.files import safe_path, storage_error

_AT_ONCE = 4
"""Files fetched at the same time."""


@dataclass(frozen=True, slots=True)
class SavedOutput:
    """One output and its local file, with the SHA-256 of its bytes."""

    output: Output
    path: Path
    sha256: str


async def save(backend: Backend, outputs: Sequence[Output], folder: Path) -> tuple[SavedOutput, ...]:
    """Fetch every output into the folder, subfolders kept but for those that a gateway names after its jobs; texts
    become `node-ID.txt`.

    A file that is there already with other content is left alone: the new one gets a number. Every name is checked
    before the first file is fetched. Raises UnsafeNameError, OutputGoneError and other BackendErrors, StorageError.
    """
    targets = [_target(folder, output) for output in outputs]
    parts = [path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.fetched") for path in targets]
    saved: list[SavedOutput] = []
    try:
        for start in range(0, len(outputs), _AT_ONCE):
            batch = range(start, min(start + _AT_ONCE, len(outputs)))
            await asyncio.gather(*(backend.fetch_to(outputs[at], parts[at]) for at in batch))
            for at in batch:
                path, digest = await asyncio.to_thread(_place, parts[at], targets[at])
                saved.append(SavedOutput(outputs[at], path, digest))
    finally:
        await asyncio.to_thread(_remove, parts)
    return tuple(saved)


def _target(folder: Path, output: Output) -> Path:
    if not output.filename:
        return safe_path(folder, f"node-{output.node.replace(':', '-')}.txt")
    named_after_job = output_names.parse(output.subfolder)
    subfolder = named_after_job[1] if named_after_job is not None else output.subfolder
    return safe_path(folder, *filter(None, (subfolder, output.filename)))


def _place(fetched: Path, target: Path) -> tuple[Path, str]:
    """Give a fetched file its name, or the next free one; a file that is there with the same content stays."""
    digest = _sha256(fetched)
    number, path = 1, target
    while path.exists() and not (path.is_file() and _sha256(path) == digest):
        number += 1
        path = target.with_name(f"{target.stem}-{number}{target.suffix}")
    if not path.exists():
        try:
            fetched.replace(path)
        except OSError as error:
            raise storage_error(error, path) from error
    return path, digest


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage_error(error, path) from error


def _remove(parts: Sequence[Path]) -> None:
    for part in parts:
        with suppress(OSError):  # what cannot be removed was never written
            part.unlink()
