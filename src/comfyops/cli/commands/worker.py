"""`comfyops worker`: a dispatcher of durable jobs, alone."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from comfyops import app as parts
from comfyops.cli.options import Json, settings, wait_for
from comfyops.cli.output import Result, emit, say
from comfyops.config import Settings

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    database: Annotated[
        str | None, typer.Option(help="Database of the jobs: postgresql://... or sqlite:///path.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this worker, another for each; the machine's if not given.")] = "",
    backend: Annotated[list[str] | None, typer.Option(help="Address of a ComfyUI server to add to the fleet.")] = None,
    backend_token: Annotated[
        str, typer.Option(envvar="COMFYOPS_BACKEND_TOKEN", help="Token that the servers given here want.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Carry out durable jobs until Ctrl-C: place them on the fleet's servers, follow them, keep what they make.

    Started again under its name, or noticed as dead by the others, a worker's jobs go on where they were.
    """
    chosen = settings(database=database)
    with contextlib.suppress(KeyboardInterrupt):  # the way in which a server is meant to end
        wait_for(_work(chosen, name, backend or [], backend_token, as_json))


async def _work(chosen: Settings, name: str, backends: list[str], token: str, as_json: bool) -> None:
    async with parts.queue_service(chosen, name, backends, token) as (queue, dispatcher):
        if as_json:
            emit(Result("worker", {"name": dispatcher.name, "backends": len(await queue.fleet.ls())}), as_json=True)
        say(f"worker {dispatcher.name} carries out jobs (stop it with Ctrl-C)")
        await dispatcher.serve()
