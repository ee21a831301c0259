"""Models that are pickles, which may run any code when they are loaded.

Such a file is taken where the library `picklescan` (the extra `pickles`) finds nothing but what weights need. What it
does not know, and every pickle where it is not installed, needs a person's word (`--allow-pickle`); what it knows to be
dangerous is refused in any case.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from comfyops.errors import IntegrityError, UnsafeModelError

ENDINGS = frozenset({".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"})
"""Endings of files that are pickles, or archives that hold some."""


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

    with path.open("rb") as file:
        found = scan_bytes(file, str(path), ending)
    calls = [(f"{item.module}.{item.name}", item.safety) for item in found.globals]
    dangerous = sorted(name for name, safety in calls if safety is SafetyLevel.Dangerous)
    unknown = sorted(name for name, safety in calls if safety is SafetyLevel.Suspicious)
    if found.issues_count and not dangerous:
        dangerous = ["code that hides itself"]
    return dangerous, unknown, not found.scan_err
