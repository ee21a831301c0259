"""The ComfyUI that `comfyops serve --launch` starts behind the gateway, and keeps alive."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops.cli.output import say
from comfyops.errors import UsageError

if TYPE_CHECKING:
    from comfyops.deploy.keeping import Keeper

Launch = Annotated[
    bool, typer.Option("--launch", help="Start the ComfyUI of this machine behind it, and again when it dies.")
]
ComfyUIPath = Annotated[
    str | None, typer.Option("--comfyui-path", help="Folder of ComfyUI, else COMFYOPS_COMFYUI_PATH.")
]
Python = Annotated[
    Path | None, typer.Option("--python", help="With --launch: Python to run ComfyUI with, if not its own.")
]
Extra = Annotated[list[str] | None, typer.Argument(help="With --launch, after --: further arguments for ComfyUI.")]


@dataclass(frozen=True)
class LaunchWish:
    """What is to be started: ComfyUI's folder, its Python, its arguments."""

    comfyui_path: str | None = None
    python: Path | None = None
    extra: tuple[str, ...] = ()
    quiet: bool = False


def launch_wish(
    launch: bool, comfyui_path: str | None, python: Path | None, extra: list[str] | None, *, quiet: bool
) -> LaunchWish | None:
    """What the options ask for, None where nothing is to be started. Raises UsageError."""
    if launch:
        return LaunchWish(comfyui_path, python, tuple(extra or ()), quiet)
    if python or extra:
        raise UsageError("These options need --launch.", hint="Give --launch to start ComfyUI behind the gateway.")
    return None


@asynccontextmanager
async def launched(wish: LaunchWish) -> AsyncIterator[Keeper]:
    """A ComfyUI on a free port of loopback, kept while the block runs; changes are said.

    Raises MissingFileError, LaunchError, UsageError.
    """
    from comfyops import config
    from comfyops.cli.commands.launch import planned, show_line
    from comfyops.cli.options import settings
    from comfyops.deploy.keeping import kept
    from comfyops.deploy.spec import spec
    from comfyops.models import places

    place = places.find(wish.comfyui_path or settings().comfyui_path)
    plan = await planned(place, spec(port=_free_port(), extra=wish.extra), wish.python)
    say(f"starting the ComfyUI in {escape(str(plan.root))}, its log is {escape(str(plan.log))}")
    shown = None if wish.quiet else show_line
    async with kept(plan, config.environment_of_children(), on_line=shown) as keeper:
        keeper.tell(_say_change)
        yield keeper


def _say_change(status: str, why: str) -> None:
    colour = "green" if status == "running" else "red"
    say(f"ComfyUI: [{colour}]{status}[/]: {escape(why)}")


def _free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
