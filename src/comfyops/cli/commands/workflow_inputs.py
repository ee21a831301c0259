"""`comfyops workflow inputs`: what can be set in a workflow, by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, settings, wait_for
from comfyops.cli.output import Result
from comfyops.workflows import inputs, node_types
from comfyops.workflows.inputs import WorkflowInput


def run(
    workflow: Annotated[str, typer.Argument(help="Workflow file (JSON, or media with one inside) or template's name.")],
    schema: Annotated[bool, typer.Option("--schema", help="Print their JSON Schema (draft 2020-12).")] = False,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List the named inputs of a workflow: what `run --set NAME=VALUE` can set.

    Found on the nodes of --nodes, else of the server given by --server, else of the shipped facts of ComfyUI.
    """
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    opened = parts.open_workflow(workflow, parts.library(chosen))
    if nodes is None and server is not None:
        types = wait_for(parts.server_node_types(chosen))
    else:
        types = parts.offline_node_types(nodes, comfyui_version or node_types.SHIPPED[0])
    found = opened.prepare(types).inputs
    described = inputs.schema(found, opened.name)
    if schema:
        return Result("workflow inputs", described, [escape(json.dumps(described, indent=2, ensure_ascii=False))])
    return Result("workflow inputs", [as_data(item) for item in found], lines(found), list(_notes(found)))


def as_data(item: WorkflowInput) -> dict[str, Any]:
    """An input for programs; targets as NODE.INPUT."""
    from comfyops.cli.output import plain

    data: dict[str, Any] = plain(item)
    return {**data, "targets": [f"{place.node}.{place.input}" for place in item.targets]}


def lines(found: Sequence[WorkflowInput]) -> Iterator[str]:
    """The inputs for people, one on a line."""
    width = max((len(item.name) for item in found), default=0)
    for item in found:
        targets = [f"{place.node}.{place.input}" for place in item.targets]
        more = f" and {len(targets) - 2} more" if len(targets) > 2 else ""
        value = "(to be given)" if item.required else _short(item.default)
        facts = "  ".join(part for part in (_range(item), f"-> {', '.join(targets[:2])}{more}") if part)
        name = f"[bold]{escape(item.name.ljust(width))}[/]"
        yield f"{name}  {item.kind.value:<7}  {escape(value)}  [dim]{escape(facts)}[/]"


def _notes(found: Iterable[WorkflowInput]) -> Iterator[str]:
    missing = [item.name for item in found if item.required]
    if missing:
        yield f"to be given before it can run: {escape(', '.join(missing))}"


def _range(item: WorkflowInput) -> str:
    if item.choices is not None:
        return ", ".join(map(str, item.choices[:4])) + (f", ... ({len(item.choices)})" if len(item.choices) > 4 else "")
    if item.minimum is not None or item.maximum is not None:
        return f"{'' if item.minimum is None else item.minimum}..{'' if item.maximum is None else item.maximum}"
    return item.folder


def _short(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= 48 else text[:45] + "..."
