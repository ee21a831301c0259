"""Node classes whose own code checks their inputs, which /object_info does not tell.

A class listed here skips the server's checks of range and list for the inputs in `skips` (None = all its inputs), and
runs `check` instead. Source: ComfyUI 0.33.0 and 0.8.0; classes of custom nodes are not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FileExists = Callable[[str, str], bool]
"""Whether the server has a file: (folder "input", "output" or "temp"; name with subfolders)."""


class CheckCrash(Exception):
    """The class's own check would raise; the server then reports an exception instead of a failed check."""


Check = Callable[[Mapping[str, Any], FileExists | None], str | None]
"""Takes the values of the node's inputs (None where one is linked), gives None (fine) or the words of what is wrong."""


@dataclass(frozen=True, slots=True)
class CustomCheck:
    """How one class checks itself. `blames` are the inputs that an answer is reported for, where they are given."""

    skips: tuple[str, ...] | None
    blames: tuple[str, ...] = ()
    check: Check | None = None


def split_annotated(name: str) -> tuple[str, str]:
    """(folder, name) of a file name that may end in "[output]", "[input]" or "[temp]"."""
    for folder in ("output", "input", "temp"):
        if name.endswith(f"[{folder}]"):
            return folder, name[: -len(folder) - 3]
    return "input", name


def _file(what: str, field: str, *, may_be_none: bool = False) -> CustomCheck:
    def check(values: Mapping[str, Any], exists: FileExists | None) -> str | None:
        name = values.get(field)
        if may_be_none and (not name or name == "none"):
            return None
        if not isinstance(name, str):
            raise CheckCrash(f"{type(name).__name__!r} object has no attribute 'endswith'")
        if exists is None or exists(*split_annotated(name)):
            return None
        return f"Invalid {what} file: {name}"

    return CustomCheck(None if may_be_none else (field,), (field,), check)


def _switch(values: Mapping[str, Any], _: FileExists | None) -> str | None:
    if "on_false" in values or "on_true" in values:
        return None
    return "At least one of on_false or on_true must be connected to Switch node"


def _aspect_ratio(values: Mapping[str, Any], _: FileExists | None) -> str | None:
    text = values.get("aspect_ratio")
    if not isinstance(text, str):
        raise CheckCrash("the aspect ratio is not text")
    try:
        width, height = (int(part.strip()) for part in text.split(":"))
    except ValueError as error:
        raise CheckCrash("Aspect ratio must be in the form 'W:H' with two integers") from error
    if width <= 0 or height <= 0 or not 0.25 <= width / height <= 4:
        raise CheckCrash("Aspect ratio must lie between 1:4 and 4:1")
    return None


def _camera(values: Mapping[str, Any], _: FileExists | None) -> str | None:
    moves = [values.get(name) for name in _MOVES]
    if any(not isinstance(move, int | float) for move in moves):
        raise CheckCrash("must be real number")
    if any(not math.isclose(float(move), 0.0) for move in moves if isinstance(move, int | float)):
        return None
    return "Invalid camera control configs: at least one of the values must be non-zero"


def _nothing(*skips: str) -> CustomCheck:
    return CustomCheck(skips)


_MOVES = ("horizontal_movement", "vertical_movement", "pan", "tilt", "roll", "zoom")

CUSTOM_CHECKS: Mapping[str, CustomCheck] = {
    "LoadImage": _file("image", "image"),
    "LoadImageMask": _file("image", "image"),
    "LoadImageOutput": _file("image", "image"),
    "LoadLatent": _file("latent", "latent"),
    "LoadVideo": _file("video", "file"),
    "LoadAudio": _file("audio", "audio"),
    "ComfySoftSwitchNode": CustomCheck(("switch", "on_false", "on_true"), ("switch", "on_false", "on_true"), _switch),
    "FluxProUltraImageNode": CustomCheck(("aspect_ratio",), ("aspect_ratio",), _aspect_ratio),
    "TripoConversionNode": _nothing("input_types"),
}

MODERN_CHECKS: Mapping[str, CustomCheck] = {
    **CUSTOM_CHECKS,
    "Load3D": _file("3D model", "model_file", may_be_none=True),
    "Load3DAdvanced": _file("3D model", "model_file", may_be_none=True),
    "CustomCombo": CustomCheck(None),
    "SelectModelDevice": _nothing("device"),
    "SelectCLIPDevice": _nothing("device"),
    "SelectVAEDevice": _nothing("device"),
    "ModelAttentionBackend": _nothing("attention"),
}

OLDER_CHECKS: Mapping[str, CustomCheck] = {
    **CUSTOM_CHECKS,
    "CustomCombo": _nothing("choice"),
    "KlingCameraControls": CustomCheck(_MOVES, _MOVES, _camera),
}
"""Those of 0.8."""
