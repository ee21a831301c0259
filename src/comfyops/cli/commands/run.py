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
from comfyops.errors import NotJsonError, UsageError
from comfyops.execution.run import RunReport, check_graph
from comfyops.execution.run import run as run_graph
from comfyops.support.files import check_folder, read_bytes
from comfyops.workflows import embedded, overrides
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

app = typer.Typer(add_completion=False)

_MOST = 256 * 1024 * 1024  # bytes of a workflow file; a PNG with its picture is larger than its graph


@app.command()
def run(
    workflow: Annotated[str, typer.Argument(help="Workflow file: API format, or a PNG with one inside; - = stdin.")],
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
    graph = embedded.read(_read(workflow), "stdin" if workflow == "-" else workflow)
    wanted = dict(map(_split, changes or []))
    check_folder(chosen.output)
    if no_wait:
        run_id, number = wait_for(_submit(chosen, graph, wanted, front, not no_validate))
        return Result("run", {"run_id": run_id, "number": number}, [run_id])
    report = wait_for(_run(chosen, graph, wanted, front, not no_validate, timeout, as_json))
    notes = ["answered from the server's cache: these are an earlier run's outputs"] if report.cached else []
    lines = [escape(str(item.path)) for item in report.outputs]
    return Result("run", report, lines, [*notes, f"{count(len(lines), 'output')} in {report.seconds:.1f} s"])


def _read(workflow: str) -> bytes:
    if workflow != "-":
        data = read_bytes(Path(workflow), _MOST + 1)
    elif sys.stdin is not None:
        data = sys.stdin.buffer.read(_MOST + 1)
    else:
        raise UsageError("There is no stdin to read a workflow from.")
    if len(data) > _MOST:
        raise NotJsonError(
            f"{'stdin' if workflow == '-' else workflow} is larger than any workflow ({_MOST // 1024**2} MiB)."
        )
    return data


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set takes NAME=VALUE, not {text[:60]!r}.", hint="For example: --set 7.seed=3.")
    return name.strip(), value


async def _submit(
    chosen: Settings, graph: Graph, wanted: dict[str, str], front: bool, check: bool
) -> tuple[str, float]:
    async with parts.connect(chosen) as backend:
        graph = await _prepared(backend, graph, wanted)
        if check:
            check_graph(graph, await backend.node_types())
        queued = await backend.submit(graph, front=front)
        return queued.run_id, queued.number


async def _run(
    chosen: Settings,
    graph: Graph,
    wanted: dict[str, str],
    front: bool,
    check: bool,
    timeout: float | None,
    quiet: bool,
) -> RunReport:
    async with parts.connect(chosen) as backend:
        graph = await _prepared(backend, graph, wanted)
        with watching(graph, quiet=quiet) as show:
            report = await run_graph(
                graph, backend, chosen.output, on_event=show, check=check, front=front, timeout=timeout
            )
    return replace(report, warnings=tuple(item for item in report.warnings if item.code != "file_not_checked"))


async def _prepared(backend: ComfyUI, graph: Graph, wanted: dict[str, str]) -> Graph:
    """The graph with the wanted inputs; local pictures among them are uploaded first."""
    if not wanted:
        return graph
    types = await backend.node_types()
    for name, text in wanted.items():
        if _takes_upload(graph, name, types) and Path(text).is_file():
            wanted = {**wanted, name: await backend.upload_image(Path(text).name, read_bytes(Path(text)))}
    return overrides.apply(graph, wanted, types)


def _takes_upload(graph: Graph, name: str, types: NodeTypes) -> bool:
    node_id, input_name = overrides.targets(graph, name)[0]
    item = overrides.declared(graph[node_id], input_name, types)
    return item is not None and bool(item.options.get("image_upload"))
