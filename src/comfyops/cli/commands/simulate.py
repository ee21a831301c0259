"""`comfyops simulate`: a ComfyUI-compatible server without a GPU."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from comfyops import app as parts
from comfyops.cli.options import Json, Snapshot, wait_for
from comfyops.cli.output import Result, emit, say
from comfyops.simulator.settings import Faults, SimulatorSettings

app = typer.Typer()


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
    fault: Annotated[
        list[str] | None, typer.Option(help="Fail on purpose: NAME=VALUE, or NAME for a switch; see docs/simulator.md.")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Run a simulated ComfyUI server until Ctrl-C. Everything it draws is marked as simulated."""
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
        faults=read_faults(fault or []),
    )
    wait_for(_serve(chosen, as_json))
    return Result("simulate", None)


def read_faults(texts: list[str]) -> Faults:
    """The faults in `NAME=VALUE` texts.

    Raises UsageError (by Typer) for an unknown name or a value of the wrong kind.
    """
    kinds = asdict(Faults())
    chosen: dict[str, object] = {}
    for text in texts:
        name, _, value = text.replace("-", "_", text.partition("=")[0].count("-")).partition("=")
        if name not in kinds:
            raise typer.BadParameter(f"There is no fault {name!r}; the faults are {', '.join(kinds)}.")
        try:
            chosen[name] = type(kinds[name])(value) if not isinstance(kinds[name], bool) else value in ("", "true", "1")
        except ValueError as error:
            raise typer.BadParameter(f"The fault {name} takes a number, not {value!r}.") from error
    return Faults(**chosen)  # type: ignore[arg-type]


async def _serve(chosen: SimulatorSettings, as_json: bool) -> None:
    from comfyops.simulator.server import Simulator

    async with Simulator(chosen) as simulator:
        if as_json:
            emit(Result("simulate", {"url": simulator.url, "version": chosen.version}), as_json=True)
        say(f"simulated ComfyUI {chosen.version} at {simulator.url} (stop it with Ctrl-C)")
        await simulator.wait_closed()
