"""`comfyops workflow diff | fix | prune | format`: workflow files compared, repaired and tidied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops.cli.editing import check_options, notes, open_file, save
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, chosen_types, settings
from comfyops.cli.output import Result, count
from comfyops.errors import UsageError
from comfyops.workflows.diff import Difference, What, diff
from comfyops.workflows.fix import Fixed, fix
from comfyops.workflows.formatting import api_text, formatted, merged, ui_text
from comfyops.workflows.graph import Graph
from comfyops.workflows.problems import Severity
from comfyops.workflows.prune import prune
from comfyops.workflows.repairs.proposal import Change, Kind
from comfyops.workflows.validate import Report, report

File = Annotated[Path, typer.Argument(help="Workflow file: JSON, or media with a workflow inside.")]
Write = Annotated[bool, typer.Option("--write", help="Write the file anew; the original is kept as a backup.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead, in API format.")]


def register(app: typer.Typer) -> None:
    """Add these commands to a noun."""
    for name, command in (("diff", compare), ("fix", repair), ("prune", tidy), ("format", rewrite)):
        app.command(name)(command)


def compare(
    left: Annotated[Path, typer.Argument(help="One workflow file.")],
    right: Annotated[Path, typer.Argument(help="The other one.")],
    nodes: Snapshot = None,
    comfyui_version: Version = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 where they differ.")] = False,
    as_json: Json = False,
) -> Result:
    """Say what differs between two workflows. Ids and the order of nodes do not count."""
    types = chosen_types(nodes, None, comfyui_version, None, None)
    first, second = open_file(left).graph(types), open_file(right).graph(types)
    found = diff(first, second)
    talk = ["the workflows do the same"] if found.same else [count(len(found.differences), "difference")]
    data = {"left": left, "right": right, "same": found.same, "differences": found.differences}
    bad = exit_code and not found.same
    return Result("workflow diff", data, map(_difference, found.differences), talk, exit_code=1 if bad else 0)


def repair(
    file: File,
    write: Write = False,
    output: Output = None,
    everything: Annotated[bool, typer.Option("--all", help="Also make the changes that are only guesses.")] = False,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show what could be repaired in a workflow, each change with its reason; with --write or -o, do it.

    Repaired for the nodes of --nodes, else of the server given by --server, else of the shipped facts of ComfyUI.
    """
    source = open_file(file)
    check_options(source, write, output)
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    graph = source.graph(types)
    fixed = fix(graph, types, guess=everything)
    after = report(fixed.graph, types)
    wanted = bool(fixed.changes) or output is not None
    written = save(file, source.text(fixed.graph), write and wanted, output, settings().home)
    data = {
        "file": file,
        "valid_before": report(graph, types).valid,
        "valid": after.valid,
        "changes": fixed.changes,
        "guesses": fixed.guesses,
        "problems": _errors(after),
        "written": written.file or None,
        "backup": written.backup or None,
    }
    talk = [*_summary(fixed, after), *notes(written, "--write does it" if fixed.changes else "")]
    return Result("workflow fix", data, _fix_lines(fixed, after, graph), talk, exit_code=0 if after.valid else 1)


def tidy(
    file: File,
    write: Write = False,
    output: Output = None,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show the nodes that no output needs; with --write or -o, leave them out."""
    source = open_file(file)
    check_options(source, write, output)
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    pruned = prune(source.graph(types), types)
    wanted = bool(pruned.removed) or output is not None
    written = save(file, source.text(pruned.graph), write and wanted, output, settings().home)
    removed = [{"node": node.id, "class_type": node.class_type, "title": node.title} for node in pruned.removed]
    data = {"file": file, "removed": removed, "kept": len(pruned.graph), "written": written.file or None}
    lines = (f"- {escape(node.id)} {escape(node.class_type or '?')}" for node in pruned.removed)
    talk = [f"{count(len(removed), 'node')} needed by no output, {len(pruned.graph)} kept"]
    talk += notes(written, "--write leaves them out" if removed else "")
    return Result("workflow prune", {**data, "backup": written.backup or None}, lines, talk)


def rewrite(
    file: File,
    write: Write = False,
    output: Output = None,
    renumber: Annotated[
        bool, typer.Option("--renumber", help="Give the ids 1, 2, ... from inputs to outputs.")
    ] = False,
    nodes: Snapshot = None,
    comfyui_version: Version = None,
    as_json: Json = False,
) -> Result:
    """Print a workflow in one way of writing (nodes by id, inputs in the order of their class), or write it so.

    A workflow in UI format stays one: only its keys are put in order.
    """
    source = open_file(file)
    if source.original is None and source.found.ui is not None and source.found.prompt is None:
        if renumber:
            raise UsageError("Nodes of a workflow in UI format cannot be renumbered.", hint="Convert it to API format.")
        text = ui_text(source.found.ui)
    else:
        check_options(source, write, output)
        types = chosen_types(nodes, None, comfyui_version, None, None)
        graph = formatted(source.graph(types), types, renumber=renumber)
        text = api_text(_reframed(source.original, graph, renumber))
    written = save(file, text, write, output, settings().home)
    data = {"file": file, "workflow": json.loads(text), "written": written.file or None}
    lines = [] if written.file else [escape(text.rstrip("\n"))]
    return Result("workflow format", {**data, "backup": written.backup or None}, lines, notes(written, ""))


def _reframed(original: Any, graph: Graph, renumber: bool) -> Any:
    """The graph in the frame of its file; under new ids, what nodes held besides belongs to none of them any more."""
    if renumber and isinstance(original, dict):
        wrapped = isinstance(original.get("prompt"), dict) and "class_type" not in original["prompt"]
        original = {**original, "prompt": {}} if wrapped else {}
    return merged(original, graph)


def _difference(item: Difference) -> str:
    place = escape(item.node if item.node == item.other or not item.other else f"{item.node or ''} = {item.other}")
    where = f"{place} ({escape(item.class_type)})" + (f" {escape(item.input)}" if item.input else "")
    if item.what is What.ADDED:
        return f"[green]+[/] {escape(item.other)} ({escape(item.class_type)})"
    if item.what is What.REMOVED:
        return f"[red]-[/] {escape(item.node)} ({escape(item.class_type)})"
    shown = {What.INPUT_ADDED: _short(item.after), What.INPUT_REMOVED: _short(item.before)}
    change = shown.get(item.what, f"{_short(item.before)} -> {_short(item.after)}")
    sign = {What.INPUT_ADDED: "[green]+[/]", What.INPUT_REMOVED: "[red]-[/]"}.get(item.what, "[yellow]~[/]")
    label = {What.CLASS: " class", What.TITLE: " title"}.get(item.what, "")
    return f"{sign} {where}{label}: {escape(change)}"


def _fix_lines(fixed: Fixed, after: Report, graph: Graph) -> Iterator[str]:
    for change in fixed.changes:
        yield _change(change, graph, "" if change.certain else " [yellow](a guess)[/]")
    for change in fixed.guesses:
        yield _change(change, graph, " [dim](not made: a guess; --all)[/]")
    for message in _errors(after):
        yield f"[red]left[/] {escape(message)}"


def _change(change: Change, graph: Graph, mark: str) -> str:
    node = graph.nodes.get(change.node)
    place = f"{change.node} ({(node.class_type if node else change.after) or 'no class'})"
    name = f" {change.input}" if change.input else ""
    before, after = _short(change.before), _short(change.after)
    words = {
        Kind.DROP: f"{before} left out",
        Kind.ADD: f"{change.after} added",
        Kind.RENAME: f"renamed to {change.after}",
    }.get(change.kind, f"{before} -> {after}")
    return f"{escape(place + name + ': ' + words)}{mark}\n    [dim]{escape(change.why)}[/]"


def _summary(fixed: Fixed, after: Report) -> list[str]:
    certain = sum(change.certain for change in fixed.changes)
    parts = [f"{certain} certain"] + (
        [f"{len(fixed.changes) - certain} guessed"] if certain < len(fixed.changes) else []
    )
    changes = f"{count(len(fixed.changes), 'change')} ({', '.join(parts)})" if fixed.changes else "no changes"
    return [f"{changes}; the workflow is {'valid' if after.valid else 'still not valid'} with them"]


def _errors(found: Report) -> list[str]:
    return [problem.message for problem in found.problems if problem.severity is not Severity.WARNING]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "nothing"
    return text if len(text) <= 80 else text[:77] + "..."
