"""`comfyops nodes`: the classes of nodes a server has, and packs of custom nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands import nodes_packs
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, chosen_types, settings, wait_for
from comfyops.cli.output import Result
from comfyops.errors import UnknownClassError
from comfyops.support.files import write_text
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import InputType, NodeType, NodeTypes, dump_snapshot, without_prose

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look at the classes of nodes a server has; install packs of custom nodes.",
)


@app.command()
def ls(
    text: Annotated[str, typer.Argument(help="Only classes whose name or category holds this text.")] = "",
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List node classes."""
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    found = [types[name] for name in sorted(types) if _fits(types[name], text)]
    data = [
        {"name": item.name, "display_name": item.display_name, "category": item.category, "output": item.is_output}
        for item in found
    ]
    lines = (f"{escape(item.name)}  [dim]{escape(item.category)}[/]" for item in found)
    return Result("nodes ls", data, lines, [f"{len(found)} of {len(types)} classes"])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Class name, such as KSampler.")],
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show what one class takes and gives."""
    types = chosen_types(nodes, server, comfyui_version, token, api_prefix)
    found = _one(types, name)
    return Result("nodes show", {"name": name, **without_prose(dict(found.raw))}, _class_lines(found))


@app.command()
def snapshot(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Record a server's node facts in a file, to check workflows offline against it."""
    types = wait_for(parts.server_node_types(settings(server=server, token=token, api_prefix=api_prefix)))
    write_text(output, dump_snapshot(types))
    data = {"file": output, "classes": len(types), "comfyui_version": types.version}
    notes = [f"{len(types)} classes of ComfyUI {types.version or '?'}"]
    return Result("nodes snapshot", data, [escape(str(output))], notes)


nodes_packs.register(app)


def _one(types: NodeTypes, name: str) -> NodeType:
    if name in types:
        return types[name]
    near = nearest(name, types)
    words = f" Nearest: {', '.join(near)}." if near else ""
    raise UnknownClassError(f"There is no node class {name!r}.{words}", name=name, suggestions=near)


def _fits(item: NodeType, text: str) -> bool:
    return text.casefold() in f"{item.name} {item.display_name} {item.category}".casefold()


def _class_lines(item: NodeType) -> Iterator[str]:
    yield f"[bold]{escape(item.name)}[/]  {escape(item.display_name)}  [dim]{escape(item.category)}[/]"
    for taken in item.inputs:
        need = "" if taken.required else " [dim](optional)[/]"
        yield f"  in   {escape(taken.name)}: {escape(taken.kind)}{need}{escape(_limits(taken))}"
    for given in item.outputs:
        yield f"  out  {escape(given.name)}: {escape(given.kind)}"


def _limits(item: InputType) -> str:
    facts: list[Any] = []
    if "default" in item.options:
        facts.append(f"default {item.options['default']!r}")
    if "min" in item.options or "max" in item.options:
        facts.append(f"{item.options.get('min', '')}..{item.options.get('max', '')}")
    if item.choices is not None:
        shown = ", ".join(map(str, item.choices[:6]))
        facts.append(f"one of {shown}{', ...' if len(item.choices) > 6 else ''}")
    return "  " + "; ".join(facts) if facts else ""
