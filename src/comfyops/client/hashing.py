"""BLAKE3 of files, the hash by which a gateway names content."""

from __future__ import annotations

from pathlib import Path

from comfyops.support.files import storage_error


def file_hash(path: Path) -> str | None:
    """The BLAKE3 of a file in hex; None where blake3, which comes with `comfyops[server]`, is not installed.

    Raises StorageError.
    """
    try:
        from blake3 import blake3
    except ModuleNotFoundError:
        return None
    try:
        return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()
    except OSError as error:
        raise storage_error(error, path) from error
