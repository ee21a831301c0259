"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from comfyops.config import Settings
    from comfyops.workflows.node_types import NodeTypes

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON envelope on stdout.")]
Server = Annotated[str | None, typer.Option("--server", help="Address of the ComfyUI server, else COMFYUI_URL.")]
Token = Annotated[str | None, typer.Option("--token", help="Bearer token for the server, else COMFYOPS_TOKEN.")]
ApiPrefix = Annotated[str | None, typer.Option("--api-prefix", help="Path before the server's routes, such as /api.")]
Snapshot = Annotated[
    Path | None, typer.Option("--nodes", help="Recorded node facts (GET /object_info, or `nodes snapshot`).")
]
Version = Annotated[str | None, typer.Option("--comfyui-version", help="Use the shipped node facts of this version.")]


def settings(**options: Any) -> Settings:
    """The settings, with the options that were given in their place.

    Raises UsageError.
    """
    from comfyops import config
    from comfyops.cli import logs

    chosen = config.override(config.load(), **options)
    logs.protect(chosen, chosen.hub_token)
    return chosen


def chosen_types(
    snapshot: Path | None, server: str | None, version: str | None, token: str | None, api_prefix: str | None
) -> NodeTypes:
    """The node types that a command's options name: a file, a server's, or shipped ones."""
    from comfyops import app as parts
    from comfyops.workflows import node_types

    if snapshot is not None:
        return parts.offline_node_types(snapshot)
    if server is not None:
        return wait_for(parts.server_node_types(settings(server=server, token=token, api_prefix=api_prefix)))
    return parts.offline_node_types(version=version or node_types.SHIPPED[0])


def wait_for(work: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run async work to its end; Ctrl-C, SIGTERM and a terminal that is closed cancel it, so that it can clean up.

    Raises KeyboardInterrupt then. `loop` makes another event loop than the usual one.
    """

    async def guarded() -> T:
        task = asyncio.ensure_future(work)
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers; there Ctrl-C alone works
            for number in _ending():
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _ending() -> list[int]:
    """The signals that end a command; a closed terminal is none where it was started to outlive it, as by nohup."""
    signals = [signal.SIGTERM, *(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))]
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
