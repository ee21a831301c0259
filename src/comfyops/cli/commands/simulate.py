"""`comfyops simulate`: a ComfyUI-compatible server without a GPU."""

from __future__ import annotations

import contextlib
import math
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyops import app as parts
from comfyops.cli.options import Json, Snapshot, wait_for
from comfyops.cli.output import Result, emit, say
from comfyops.errors import UsageError
from comfyops.simulator.settings import Faults, SimulatorSettings
from comfyops.workflows.node_types import SHIPPED

app = typer.Typer(add_completion=False)

_FAULTS = ", ".join(item.name.replace("_", "-") for item in fields(Faults)) + "."
_WANTED = {bool: "true or false", str: "the name of a node class", int: "a whole number", float: "a number from 0"}


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")] = 8188,
    version: Annotated[str, typer.Option("--version", help="Whose answers to give: 0.33.0 or 0.8.0.")] = "0.33.0",
    nodes: Snapshot = None,
    home: Annotated[Path | None, typer.Option(help="Folder for its files; a temporary one if not given.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Serve the official ComfyUI page too.")] = False,
    previews: Annotated[bool, typer.Option("--previews", help="Send preview pictures while sampling.")] = False,
    seconds_per_step: Annotated[float, typer.Option(min=0, help="Time of one sampling step.")] = 0.0,
    seconds_per_node: Annotated[float, typer.Option(min=0, help="Time of any other node.")] = 0.0,
    model_load_seconds: Annotated[float, typer.Option(min=0, help="Time to load a model file.")] = 0.0,
    vram_gb: Annotated[float, typer.Option(min=0.1, help="Simulated VRAM.")] = 24.0,
    model_gb: Annotated[float, typer.Option(min=0.001, help="VRAM of one model file.")] = 2.0,
    faithful_poison: Annotated[
        bool, typer.Option("--faithful-poison", help="Break on the prompts that break a real server.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="File to which each begin and end of a run is added, a line of JSON each.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Fail on purpose: NAME=VALUE, or NAME for a switch. NAME is one of " + _FAULTS),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a simulated ComfyUI server until Ctrl-C. Everything it draws is marked as simulated."""
    if version not in SHIPPED:
        raise UsageError(f"The simulator knows ComfyUI {' and '.join(SHIPPED)}, not {version[:20]!r}.")
    gib = 1024**3
    chosen = SimulatorSettings(
        host=host,
        port=port,
        version=version,
        home=home,
        seconds_per_step=seconds_per_step,
        seconds_per_node=seconds_per_node,
        model_load_seconds=model_load_seconds,
        model_bytes_default=int(model_gb * gib),
        vram_bytes=int(vram_gb * gib),
        types=parts.offline_node_types(nodes) if nodes else None,
        previews=previews,
        faithful_poison=faithful_poison,
        page=page,
        record=record,
        faults=read_faults(fault or []),
    )
    with contextlib.suppress(KeyboardInterrupt):  # the way in which a server is meant to end
        wait_for(_serve(chosen, as_json))
        say("the simulated server died")
        raise typer.Exit(1)


def read_faults(texts: list[str]) -> Faults:
    """The faults in `NAME=VALUE` texts; a name may be written with - or _.

    Raises UsageError for an unknown name or a value of the wrong kind.
    """
    chosen: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        name = name.replace("-", "_")
        if name not in {item.name for item in fields(Faults)}:
            raise UsageError(f"There is no fault {name[:60]!r}; the faults are {_FAULTS}")
        chosen[name] = _fault_value(name, value)
    return Faults(**chosen)


def _fault_value(name: str, text: str) -> object:
    kind = type(getattr(Faults(), name))
    try:
        value = {"": True, "true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        if value == "" or (kind is not str and not 0 <= value < math.inf):
            raise ValueError(text)
    except (ValueError, KeyError):
        raise UsageError(f"The fault {name} takes {_WANTED[kind]}, not {text[:60]!r}.") from None
    return value


async def _serve(chosen: SimulatorSettings, as_json: bool) -> None:
    from comfyops.simulator.server import Simulator

    async with Simulator(chosen) as simulator:
        if as_json:
            emit(Result("simulate", {"url": simulator.url, "version": chosen.version}), as_json=True)
        say(f"simulated ComfyUI {chosen.version} at {simulator.url} (stop it with Ctrl-C)")
        await simulator.wait_closed()
