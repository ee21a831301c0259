"""The last step: a complete, verified file takes its place; a wrong one goes to the quarantine, with evidence.

models/vae/.comfyops-quarantine/flux2-vae.safetensors.wrong          the bytes that came (the latest such file)
models/vae/.comfyops-quarantine/flux2-vae.safetensors.wrong.json     what was promised, what came, from where
models/vae/.comfyops-quarantine/flux2-vae.safetensors.replaced-1a2b  a file that lay there and was another one
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyops.errors import StorageError
from comfyops.models.transfer.hasher import sha256_of
from comfyops.models.transfer.partial import Partial, leftovers
from comfyops.support.files import storage_error, sync_folder, write_text

QUARANTINE = ".comfyops-quarantine"


def is_good(target: Path, size: int | None, sha256: str | None) -> str | None:
    """The SHA-256 of what lies at the target where it is the wanted file, else None. Without a size and a hash: None.

    Raises StorageError where it cannot be read.
    """
    try:
        there = target.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, target) from error
    if (size is None and sha256 is None) or (size is not None and there != size):
        return None
    try:
        actual = sha256_of(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be read: {error.strerror or error}.", path=str(target)) from error
    return actual if sha256 in (None, actual) else None


def place(partial: Partial, target: Path) -> None:
    """Flush the partial file and rename it to the target, in one step; another file there is kept in the quarantine.

    Raises StorageError.
    """
    try:
        partial.flush()
        _keep_old(target)
        partial.close()
        partial.path.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, target) from error
    tidy(target)


def tidy(target: Path) -> None:
    """Remove what is left of downloads of a file that is in its place."""
    for path in leftovers(target):
        with suppress(OSError):
            path.unlink()


def quarantine(partial: Partial, target: Path, evidence: dict[str, Any]) -> Path | None:
    """Move wrong bytes away and write the evidence beside them; where they are now, None where the disk refused.

    The evidence is written even where the bytes cannot be kept. Only the latest wrong bytes of a file stay.
    """
    folder = target.parent / QUARANTINE
    bad = folder / f"{target.name}.wrong"
    kept: Path | None = bad
    try:
        partial.close()
        folder.mkdir(exist_ok=True)
        partial.path.replace(bad)
    except OSError:
        kept = None
    partial.discard()
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(StorageError):
        write_text(Path(f"{bad}.json"), json.dumps({"file": str(target), "found_at": moment, **evidence}, indent=2))
    return kept


def _keep_old(target: Path) -> None:
    """Another file of this name stays in the quarantine: it may be somebody's own work."""
    if not target.exists():
        return
    folder = target.parent / QUARANTINE
    folder.mkdir(exist_ok=True)
    kept = folder / f"{target.name}.replaced-{target.stat().st_mtime_ns:x}"
    if kept.exists():
        return
    try:
        os.link(target.resolve(), kept)
    except OSError:  # a file system without hard links
        shutil.copy2(target, kept)
