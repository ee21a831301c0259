"""Models that are pickles, which may run any code when they are loaded.

Such a file is taken where the library `picklescan` (the extra `pickles`) finds nothing but what weights need. What it
does not know, and every pickle where it is not installed, needs a person's word (`--allow-pickle`); what it knows to be
dangerous is refused in any case. The library passes over what it cannot read, and that is no proof: a file counts as
looked into only where it is a zip whose pickles were all read, or begins with a pickle that is whole.
"""

from __future__ import annotations

import logging
import pickletools
import zipfile
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from comfyops.errors import IntegrityError, UnsafeModelError

ENDINGS = frozenset({".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"})
"""Endings of files that are pickles, or archives that hold some."""

_INSIDE = frozenset({".pkl", ".pickle"})
_OLD = 0x1950A86A20F9469CFC6C  # the number that torch's files begin with which are no archives
_MOST_PACKED = 64 * 1024 * 1024  # bytes of pickles that an archive holds compressed


def check(path: Path, ending: str, *, allow: bool = False) -> None:
    """See that a pickle may be taken.

    Raises UnsafeModelError, and IntegrityError where it cannot be read as one.
    """
    if find_spec("picklescan") is None:
        if not allow:
            words = f"{path.name} is a pickle, which may run code when it is loaded, and nothing here can look into it."
            hint = "Install comfyops[pickles], take the model as safetensors, or allow it with --allow-pickle."
            raise UnsafeModelError(words, hint=hint, path=str(path))
        return
    dangerous, unknown, readable = _scanned(path, ending)
    if dangerous:
        words = f"{path.name} would run {', '.join(dangerous[:3])} when it is loaded."
        raise UnsafeModelError(words, hint="Do not use it; report it to its source.", path=str(path), calls=dangerous)
    if not readable and not allow:
        raise IntegrityError(f"{path.name} cannot be read as a pickle.", path=str(path))
    if unknown and not allow:
        words = f"{path.name} is a pickle that calls {', '.join(unknown[:3])}, which may be harmless or not."
        raise UnsafeModelError(words, path=str(path), calls=unknown)


def _scanned(path: Path, ending: str) -> tuple[list[str], list[str], bool]:
    """(dangerous calls, unknown calls, whether it could be read)."""
    from picklescan.scanner import SafetyLevel, scan_bytes  # type: ignore[import-untyped]

    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # what it finds is said by us
    with path.open("rb") as file:
        whole = _is_whole(file)
        file.seek(0)
        try:
            found = scan_bytes(file, str(path), ending.lower())
        except Exception:  # noqa: BLE001 (which it raises for what it was not made for: 7z, archives that are broken)
            return [], [], False
    calls = [(f"{item.module}.{item.name}", item.safety) for item in found.globals]
    dangerous = sorted(name for name, safety in calls if safety is SafetyLevel.Dangerous)
    unknown = sorted(name for name, safety in calls if safety is SafetyLevel.Suspicious)
    if found.issues_count and not dangerous:
        dangerous = ["code that hides itself"]
    return dangerous, unknown, whole and not found.scan_err


def _is_whole(file: IO[bytes]) -> bool:
    """Whether a file is a zip whose pickles are all whole, or begins with a pickle that is."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return _is_pickle(file)
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [item for item in archive.infolist() if Path(item.filename).suffix in _INSIDE]
            packed = sum(item.file_size for item in inside if item.compress_type != zipfile.ZIP_STORED)
            return bool(inside) and packed <= _MOST_PACKED and all(_holds_pickle(archive, item) for item in inside)
    except Exception:  # noqa: BLE001 (zipfile raises what its parts do: zlib, struct, codecs)
        return False


def _holds_pickle(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bool:
    with archive.open(item) as member:
        return _is_pickle(member)


def _is_pickle(file: IO[bytes]) -> bool:
    """Whether a whole pickle comes next; where it is what torch's old files begin with, the four after it too."""
    try:
        old = any([argument == _OLD for _, argument, _ in pickletools.genops(file)])  # noqa: C419 (all is to be read)
        for _ in range(4 if old else 0):
            deque(pickletools.genops(file), maxlen=0)
    except Exception:  # noqa: BLE001 (it raises whatever the bytes lead it to)
        return False
    return True
