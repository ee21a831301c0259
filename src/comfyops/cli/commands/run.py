"""`comfyops run`: one workflow on a server, outputs into a folder."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Queued
from comfyops.backends.filling import fill
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count
from comfyops.cli.progress import watching
from comfyops.config import Settings
from comfyops.errors import UsageError
from comfyops.execution.keys import run_id_of
from comfyops.execution.run import RunReport, check_graph
from comfyops.execution.run import run as run_graph
from comfyops.support.files import check_folder
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import WorkflowInput, apply, find

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
    repeat: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="How many runs, each with the next seed.")
    ] = 1,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Submit only and print the job's id.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait for the end.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Go before all waiting jobs.")] = False,
    key: Annotated[
        str | None,
        typer.Option(help="Run it once: a second command with this key, workflow and server goes on with the first's."),
    ] = None,
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
    token_key = chosen.token.get_secret_value() if chosen.token else ""
    order = _Order(opened, wanted, repeat, front, not no_validate, timeout, _salted(key, token_key))
    if no_wait:
        queued = wait_for(_submit(chosen, order))
        data = [{"run_id": item.run_id, "number": item.number} for item in queued]
        return Result("run", data if repeat > 1 else data[0], [item.run_id for item in queued])
    reports = wait_for(_run(chosen, order, as_json))
    return _many(reports) if repeat > 1 else _one(reports[0])


@dataclass(frozen=True, slots=True)
class _Order:
    """What to run, and how."""

    opened: parts.Opened
    wanted: dict[str, str]
    repeat: int
    front: bool
    check: bool
    timeout: float | None
    key: str | None

    async def run_id(self, backend: ComfyUI, graph: Graph) -> str | None:
        """Under which id to run a graph; None = a fresh one."""
        if self.key is None:
            return None
        return await run_id_of(backend, f"{self.key}:{hashlib.sha256(api_format.dumps(graph).encode()).hexdigest()}")


def _salted(key: str | None, secret: str) -> str | None:
    """The key as nobody else's: ids are one space for all who use a server. Raises UsageError."""
    if key is None:
        return None
    if not key.strip() or len(key) > 200:
        raise UsageError("A key has between 1 and 200 characters.")
    return hashlib.sha256(f"{secret}\n{key}".encode()).hexdigest()


def _many(reports: list[RunReport]) -> Result:
    lines = [escape(str(item.path)) for report in reports for item in report.outputs]
    return Result("run", {"runs": reports}, lines, [f"{count(len(reports), 'run')}, {count(len(lines), 'output')}"])


def _one(report: RunReport) -> Result:
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


async def _submit(chosen: Settings, order: _Order) -> list[Queued]:
    async with parts.connect(chosen) as backend:
        graphs = await _graphs(backend, order)
        if order.check:
            check_graph(graphs[0], await backend.node_types())
        return [
            await backend.submit(graph, run_id=await order.run_id(backend, graph), front=order.front)
            for graph in graphs
        ]


async def _run(chosen: Settings, order: _Order, quiet: bool) -> list[RunReport]:
    """Run every graph, all in the server's queue at once; the first failure cancels the rest."""
    async with parts.connect(chosen) as backend:
        graphs = await _graphs(backend, order)
        with watching(graphs[0], quiet=quiet or len(graphs) > 1) as show:

            async def one(graph: Graph) -> RunReport:
                return await run_graph(
                    graph, backend, chosen.output, on_event=show,
                    check=order.check, front=order.front, timeout=order.timeout,
                    run_id=await order.run_id(backend, graph),
                )  # fmt: skip

            tasks = [asyncio.ensure_future(one(graph)) for graph in graphs]
            try:
                reports = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return [_without_unchecked(report) for report in reports]


def _without_unchecked(report: RunReport) -> RunReport:
    return replace(report, warnings=tuple(item for item in report.warnings if item.code != "file_not_checked"))


async def _graphs(backend: ComfyUI, order: _Order) -> list[Graph]:
    """The graph once for each run, the seeds counted up.

    Raises UsageError where there is no seed to count.
    """
    graph = await _prepared(backend, order.opened, order.wanted)
    if order.repeat == 1:
        return [graph]
    types = await backend.node_types()
    seeds = [item for item in find(graph, types) if item.name.startswith("seed") and isinstance(item.default, int)]
    if not seeds:
        raise UsageError("--count needs a workflow with a seed: all runs would be the same.")
    return [
        apply(graph, seeds, {item.name: _next(item, turn) for item in seeds}, types) for turn in range(order.repeat)
    ]


def _next(item: WorkflowInput, turn: int) -> int:
    """A seed some turns on, started again from the smallest after the largest."""
    low, high = int(item.minimum or 0), int(item.maximum or 2**64 - 1)
    assert isinstance(item.default, int)
    return low + (item.default + turn - low) % (high - low + 1)


async def _prepared(backend: ComfyUI, opened: parts.Opened, wanted: dict[str, str]) -> Graph:
    """The graph with the wanted inputs; local files among them are uploaded first."""
    if not wanted and opened.pins is None and opened.found.prompt is not None:
        return opened.found.prompt
    types = await backend.node_types()
    prepared = opened.prepare(types)
    return await fill(backend, prepared.graph, prepared.inputs, wanted, types)
