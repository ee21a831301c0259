"""What a model file must look like, seen without reading its weights.

See `safetensors`, `gguf` and `pickles` for each. A file cut short or a web page saved as a model is found this way in
milliseconds, whatever its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

from comfyops.errors import IntegrityError, StorageError
from comfyops.models import gguf, pickles, safetensors

_GGUF_VERSIONS = (1, 2, 3)
_MOST_COUNT = 1 << 32
_PAGES = (b"<!doctype", b"<html", b"<?xml", b'{"error')
_POINTER = b"version https://git-lfs"


_SAFETENSORS = (".safetensors", ".sft")


def measurer(name: str) -> Callable[[Path], int | None]:
    """What `least_size` does for a file of this name, wherever it lies meanwhile."""
    return lambda path: least_size(path, name)


def least_size(path: Path, name: str | None = None) -> int | None:
    """How many bytes a file must have by its own header, which may be all that is there of it.

    None where the header does not tell, or is not whole yet.
    """
    ending = Path(name or path).suffix.lower()
    try:
        with path.open("rb") as file:
            if ending in _SAFETENSORS:
                there = file.seek(0, 2)
                file.seek(0)
                return safetensors.whole_size(file, there)
            return gguf.least_size(file) if ending == ".gguf" else None
    except (OSError, ValueError):
        return None


def checker(name: str, *, allow_pickle: bool = False) -> Callable[[Path], None]:
    """What `check` does for a file of this name, wherever it lies meanwhile (a download has another ending)."""

    def check_as(path: Path) -> None:
        check(path, name, allow_pickle=allow_pickle)

    return check_as


def check(path: Path, name: str | None = None, *, allow_pickle: bool = False) -> None:
    """See that a file is what the ending of its `name` says.

    Raises IntegrityError where it is not, UnsafeModelError for a pickle that may run code (see `pickles`), StorageError
    where it cannot be read.
    """
    ending = Path(name or path).suffix.lower()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(64)
            _no_page(path, head, size)
            file.seek(0)
            if ending in _SAFETENSORS:
                _safetensors(path, file, size)
            elif ending == ".gguf":
                _gguf(path, head)
                _gguf_whole(path, file, size)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"{path} cannot be read: {why}.", path=str(path)) from error
    if ending in pickles.ENDINGS:
        pickles.check(path, ending, allow=allow_pickle)


def _safetensors(path: Path, file: IO[bytes], size: int) -> None:
    try:
        safetensors.check(file, size)
    except ValueError as error:
        raise _wrong(path, f"it is no whole safetensors file: {error}") from error


def _gguf(path: Path, head: bytes) -> None:
    if len(head) < 24 or head[:4] != b"GGUF":
        raise _wrong(path, "it does not begin as a GGUF file")
    version, tensors, values = struct.unpack("<IQQ", head[4:24])
    counted = version > 1  # the first version had other counts
    if version not in _GGUF_VERSIONS or (counted and max(tensors, values) > _MOST_COUNT):
        raise _wrong(path, "its beginning is not that of a GGUF file")


def _gguf_whole(path: Path, file: IO[bytes], size: int) -> None:
    file.seek(0)
    try:
        least = gguf.least_size(file)
    except gguf.CutShortError as error:
        raise _wrong(path, "its header ends before it is whole") from error
    except ValueError:
        least = None  # what this reader does not know is no proof of damage
    if least is not None and size < least:
        raise _wrong(path, f"its tensors end at {least} bytes, there are {size}")


def _no_page(path: Path, head: bytes, size: int) -> None:
    start = head.lstrip().lower()
    if not size:
        raise _wrong(path, "it is empty")
    if start.startswith(_PAGES):
        raise _wrong(path, "it is a web page or an error message, not a model")
    if start.startswith(_POINTER):
        raise _wrong(path, "it is a pointer of Git LFS, not the file that it points to")


def _wrong(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path.name} cannot be used: {why}.", path=str(path))
