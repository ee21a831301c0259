"""`comfyops workflow`: what can be known of a workflow file without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.commands import (
    workflow_backups,
    workflow_check,
    workflow_convert,
    workflow_inputs,
    workflow_prepare,
    workflow_tools,
)
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, chosen_types
from comfyops.cli.output import Result
from comfyops.errors import InputError, MissingFileError
from comfyops.support.files import read_bytes
from comfyops.workflows import api_format, embedded, node_types
from comfyops.workflows.graph import Graph, Link
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.validate import Report, report

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check, look at, convert and repair workflow files.")
app.command("convert")(workflow_convert.run)
app.command("inputs")(workflow_inputs.run)
app.command("check")(workflow_check.run)
app.command("prepare")(workflow_prepare.run)
for module in (workflow_tools, workflow_backups):
    module.register(app)

_COLOURS = {Severity.ERROR: "red", Severity.DANGER: "magenta", Severity.WARNING: "yellow"}
Files = Annotated[list[Path], typer.Argument(help="Workflow files (API format, or PNG with one inside) or folders.")]


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was found of one file; `valid` and `safe` as in `workflows.validate`."""

    file: str
    valid: bool
    safe: bool
    problems: tuple[Problem, ...]


@app.command()
def validate(
    paths: Files,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Say whether a server would take the workflows, and what is wrong with them.

    Checked against --nodes, else the server given by --server, else the shipped facts of ComfyUI.
    """
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    reports = [check_file(path, types) for path in workflow_files(paths)]
    bad = sum(not (item.valid and item.safe) for item in reports)
    notes = [f"{len(reports)} files checked, {bad} with errors or dangers"] if len(reports) > 1 else []
    lines = (line for item in reports for line in _lines(item))
    return Result("workflow validate", reports, lines, notes, exit_code=1 if bad else 0)


@app.command()
def show(path: Annotated[Path, typer.Argument(help="Workflow file.")], as_json: Json = False) -> Result:
    """Show a workflow's nodes, their inputs and links."""
    graph = embedded.read(read_bytes(path), str(path))
    data = {"file": str(path), "nodes": api_format.dump(graph), "models": models_of(graph)}
    return Result("workflow show", data, _node_lines(graph))


def workflow_files(paths: list[Path]) -> Iterator[Path]:
    """The files themselves, and the JSON files of folders, in order of their names.

    Raises MissingFileError for what is not there and for a folder without any.
    """
    for path in paths:
        if path.is_dir():
            found = sorted(item for item in path.rglob("*.json") if item.is_file())
            if not found:
                raise MissingFileError(f"The folder {path} holds no workflow (*.json).", path=str(path))
            yield from found
        elif path.exists():
            yield path
        else:
            raise MissingFileError(f"{path} does not exist.", path=str(path))


def check_file(path: Path, types: NodeTypes) -> FileReport:
    """The report on one file; a file that cannot be read as a workflow is one problem."""
    try:
        graph, request = _read(path)
        found = report(graph, types, request=request)
    except InputError as error:
        problem = Problem("", "", error.code, Severity.ERROR, error.message, (error.hint,) if error.hint else ())
        found = Report((problem,))
    return FileReport(str(path), found.valid, found.safe, found.problems)


def _read(path: Path) -> tuple[Graph, dict[str, object]]:
    """The graph, and the other fields of the request it is wrapped in."""
    data = read_bytes(path)
    if embedded.is_picture(data):
        return embedded.read(data, str(path)), {}
    parsed = api_format.load_json(data, str(path))
    wrapped = isinstance(parsed, dict) and "prompt" in parsed and "class_type" not in parsed
    return api_format.parse(parsed, str(path)), parsed if wrapped else {}


def models_of(graph: Graph) -> list[str]:
    """The model files that a graph names, each once."""
    folders = node_types.known_folders()
    found = {
        value: None
        for node in graph
        for name, value in (node.inputs or {}).items()
        if isinstance(value, str) and folders.get(node.class_type or "", {}).get(name, "input") != "input"
    }
    return list(found)


def _lines(item: FileReport) -> Iterator[str]:
    verdict = "[green]valid[/]" if item.valid else "[red]invalid[/]"
    yield f"{escape(item.file)}: {verdict}" + ("" if item.safe else ", [magenta]dangerous[/]")
    for problem in item.problems:
        colour = _COLOURS[problem.severity]
        near = f" [dim](nearest: {escape(', '.join(problem.suggestions))})[/]" if _adds(problem) else ""
        yield f"  [{colour}]{problem.severity}[/] {escape(problem.message)}{near}"


def _adds(problem: Problem) -> bool:
    """Whether the suggestions say more than the message."""
    return any(item not in problem.message for item in problem.suggestions)


def _node_lines(graph: Graph) -> Iterator[str]:
    for node in graph:
        title = f"  [dim]{escape(node.title)}[/]" if node.title else ""
        yield f"[bold]{escape(node.id)}[/] {escape(node.class_type or '?')}{title}"
        for name, value in (node.inputs or {}).items():
            shown = f"<- {value.node}.{value.slot}" if type(value) is Link else repr(api_format.from_value(value))
            yield f"    {escape(name)}: {escape(shown if len(shown) < 100 else shown[:97] + '...')}"
