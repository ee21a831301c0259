"""ComfyOps: a production backend for ComfyUI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfyops.client import Blocking as Blocking
    from comfyops.client import Client as Client

__version__ = "0.1.0"

_OF_CLIENT = ("Blocking", "Client")


def __getattr__(name: str) -> Any:
    """The client, imported when it is asked for: it takes longer than most programs need."""
    if name in _OF_CLIENT:
        from comfyops import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
