"""Libraries that only some commands need, with a clear error where they are not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from comfyops.errors import MissingExtraError


def video_library() -> Any:
    """PyAV.

    Raises MissingExtraError.
    """
    return _module("av", "Video files")


def numpy() -> Any:
    """NumPy.

    Raises MissingExtraError.
    """
    return _module("numpy", "Alpha mattes")


def _module(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} need the Python package {name}, which is not installed.",
            hint="Install it with: pip install 'comfyops[video]'",
            package=name,
        ) from error
