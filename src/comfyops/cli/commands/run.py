"""`comfyops run`: one workflow on a server, outputs into a folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.backends.comfyui import ComfyUI
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count
from comfyops.cli.progress import watching
from comfyops.config import Settings
from comfyops.errors import UsageError
from comfyops.execution.inputs import fill
from comfyops.execution.run import RunReport, check_graph
from comfyops.execution.run import run as run_graph
from comfyops.support.files import check_folder
from comfyops.workflows.graph import Graph

app = typer.Typer(add_completion=False)


@app.command()
def run(
    workflow: Annotated[
        str, typer.Argument(help="Workflow file (JSON, or media with one inside), template's name, or - for stdin.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set an input: NAME=VALUE, or NODE.NAME=VALUE; for pictures a local file."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the outputs.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Submit only and print the job's id.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait for the end.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Go before all waiting jobs.")] = False,
    no_validate: Annotated[bool, typer.Option("--no-validate", help="Leave the check to the server.")] = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Run a workflow and fetch what it makes. Ctrl-C cancels it on the server."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix, output=output)
    opened = _open(workflow, chosen)
    wanted = dict(map(_split, changes or []))
    check_folder(chosen.output)
    if no_wait:
        run_id, number = wait_for(_submit(chosen, opened, wanted, front, not no_validate))
        return Result("run", {"run_id": run_id, "number": number}, [run_id])
    report = wait_for(_run(chosen, opened, wanted, front, not no_validate, timeout, as_json))
    notes = ["answered from the server's cache: these are an earlier run's outputs"] if report.cached else []
    lines = [escape(str(item.path)) for item in report.outputs]
    return Result("run", report, lines, [*notes, f"{count(len(lines), 'output')} in {report.seconds:.1f} s"])


def _open(workflow: str, chosen: Settings) -> parts.Opened:
    if workflow != "-":
        return parts.open_workflow(workflow, parts.library(chosen))
    if sys.stdin is None:
        raise UsageError("There is no stdin to read a workflow from.")
    return parts.open_bytes(sys.stdin.buffer.read(parts.MAX_WORKFLOW + 1), "stdin")


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set takes NAME=VALUE, not {text[:60]!r}.", hint="For example: --set 7.seed=3.")
    return name.strip(), value


async def _submit(
    chosen: Settings, opened: parts.Opened, wanted: dict[str, str], front: bool, check: bool
) -> tuple[str, float]:
    async with parts.connect(chosen) as backend:
        graph = await _prepared(backend, opened, wanted)
        if check:
            check_graph(graph, await backend.node_types())
        queued = await backend.submit(graph, front=front)
        return queued.run_id, queued.number


async def _run(
    chosen: Settings,
    opened: parts.Opened,
    wanted: dict[str, str],
    front: bool,
    check: bool,
    timeout: float | None,
    quiet: bool,
) -> RunReport:
    async with parts.connect(chosen) as backend:
        graph = await _prepared(backend, opened, wanted)
        with watching(graph, quiet=quiet) as show:
            report = await run_graph(
                graph, backend, chosen.output, on_event=show, check=check, front=front, timeout=timeout
            )
    return replace(report, warnings=tuple(item for item in report.warnings if item.code != "file_not_checked"))


async def _prepared(backend: ComfyUI, opened: parts.Opened, wanted: dict[str, str]) -> Graph:
    """The graph with the wanted inputs; local files among them are uploaded first."""
    if not wanted and opened.pins is None and opened.found.prompt is not None:
        return opened.found.prompt
    types = await backend.node_types()
    prepared = opened.prepare(types)
    return await fill(backend, prepared.graph, prepared.inputs, wanted, types)
