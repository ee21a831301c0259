"""Composition: the one place that puts the parts together from settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from comfyops.support.files import read_bytes
from comfyops.workflows import node_types
from comfyops.workflows.node_types import NodeTypes

if TYPE_CHECKING:  # what only some commands need is imported where it is used: it takes longer than they do
    from comfyops.backends.comfyui import ComfyUI
    from comfyops.config import Settings


def connect(settings: Settings) -> ComfyUI:
    """A client for the configured server, to be used as an async context manager; nothing is sent before that."""
    from comfyops.backends.comfyui import ComfyUI

    return ComfyUI(
        settings.server,
        token=settings.token.get_secret_value() if settings.token else None,
        api_prefix=settings.api_prefix,
        timeout=settings.timeout,
        stall_timeout=settings.stall_timeout,
    )


async def server_node_types(settings: Settings) -> NodeTypes:
    """The node types of the configured server.

    Raises BackendError where it does not answer.
    """
    async with connect(settings) as backend:
        return await backend.node_types()


def offline_node_types(snapshot: Path | None = None, version: str = node_types.SHIPPED[0]) -> NodeTypes:
    """Node types without a server: from a recorded answer of GET /object_info, or those that come with the package.

    Raises MissingFileError, NotJsonError, NodeFactsError.
    """
    if snapshot is not None:
        return node_types.loads(read_bytes(snapshot), str(snapshot))
    return node_types.shipped(version)
