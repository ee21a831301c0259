"""`comfyops templates`: the library of workflows, official templates, own folders, what a server has saved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands.workflow_convert import Format, converted
from comfyops.cli.commands.workflow_inputs import as_data, lines
from comfyops.cli.options import ApiPrefix, Json, Server, Snapshot, Token, Version, settings, wait_for
from comfyops.cli.output import Result, plain
from comfyops.config import Settings
from comfyops.errors import MissingFileError
from comfyops.support.files import write_text
from comfyops.workflows import library, node_types, template_facts
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.library import ANY, Library
from comfyops.workflows.template_facts import Facts
from comfyops.workflows.templates import ENGLISH, Template

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Find ready workflows: official ones and your own.")

Language = Annotated[str, typer.Option("--lang", help="Language of titles and descriptions: en, fr, ja, zh, ...")]
Folders = Annotated[
    list[Path] | None, typer.Option("--library", help="Folder with workflows of your own, else COMFYOPS_LIBRARY.")
]
Saved = Annotated[bool, typer.Option("--saved", help="Include the workflows saved on the server.")]


@app.command()
def ls(
    category: Annotated[str, typer.Option("--category", help="Only this category, such as Video.")] = "",
    capability: Annotated[Capability | None, typer.Option("--capability", help="Only what can do this.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Only what runs without paid services.")] = False,
    lang: Language = ENGLISH,
    folders: Folders = None,
    saved: Saved = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List workflows."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    known = _library(chosen, folders, saved).all(lang)
    found = [item for item in known if _fits(item, category, capability, local)]
    notes = [f"{len(found)} of {len(known)} workflows"]
    return Result("templates ls", [_data(item) for item in found], map(_line, found), notes)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Words; all of them must be found.")],
    lang: Annotated[str, typer.Option("--lang", help="Language to search in: en, fr, ja, zh, ..., or any.")] = ANY,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most workflows to list.")] = 20,
    folders: Folders = None,
    saved: Saved = False,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Find workflows by words in their names, titles, descriptions, tags and models, best first."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    found = _library(chosen, folders, saved).search(" ".join(words), lang)
    shown = found[:limit]
    notes = [f"{len(shown)} of {len(found)} found"]
    return Result("templates search", [_data(item) for item in shown], map(_line, shown), notes)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the workflow.")],
    lang: Language = ENGLISH,
    folders: Folders = None,
    saved: Saved = False,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Show what a workflow does, takes and needs, and with --server what of that the server has."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    template = _library(chosen, folders, saved).get(name, lang)
    opened = _open(template, chosen)
    if nodes is None and server is not None:
        types = wait_for(parts.server_node_types(chosen))
    else:
        types = parts.offline_node_types(nodes, comfyui_version or node_types.SHIPPED[0])
    found = template_facts.facts(template, opened.found, types)
    data = {
        **_data(found.template),
        "inputs": [as_data(item) for item in opened.prepare(types).inputs],
        "model_files": plain(found.models),
        "node_classes": plain(found.classes),
        "warnings": plain(found.warnings),
    }
    return Result("templates show", data, _page(found, types.version or "the server"))


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Name of the workflow.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File, or folder, to write.")],
    to: Annotated[Format, typer.Option("--to", help="ui: what the editor opens; api: what a server runs.")] = Format.UI,
    folders: Folders = None,
    saved: Saved = False,
    nodes: Snapshot = None,
    server: Server = None,
    comfyui_version: Version = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Write a workflow into a file, in either format."""
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    template = _library(chosen, folders, saved).get(name)
    types = parts.offline_node_types(nodes, comfyui_version or node_types.SHIPPED[0])
    made, warnings = converted(_bytes(template, chosen), template.name, to, types)
    target = output / f"{template.name.rpartition('/')[2]}.json" if output.is_dir() else output
    write_text(target, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    notes = [f"[yellow]warning[/] {escape(item.message)}" for item in warnings]
    data = {"name": template.name, "file": target, "format": to, "warnings": plain(warnings)}
    return Result("templates get", data, [escape(str(target))], notes)


def _library(chosen: Settings, folders: list[Path] | None, saved: bool) -> Library:
    names = wait_for(_saved_names(chosen)) if saved else ()
    return parts.library(chosen, folders or (), names)


async def _saved_names(chosen: Settings) -> tuple[str, ...]:
    async with parts.connect(chosen) as backend:
        return await backend.saved_workflows()


async def _read_saved(chosen: Settings, name: str) -> bytes:
    async with parts.connect(chosen) as backend:
        return await backend.read_saved(name)


def _bytes(template: Template, chosen: Settings) -> bytes:
    return wait_for(_read_saved(chosen, template.name)) if template.path is None else library.read(template)


def _open(template: Template, chosen: Settings) -> parts.Opened:
    opened = parts.open_bytes(_bytes(template, chosen), template.name)
    pins = parts.read_pins(template.path) if template.path is not None else None
    return parts.Opened(template.name, opened.found, pins, template)


def _fits(item: Template, category: str, capability: Capability | None, local: bool) -> bool:
    if category and library.fold(category) not in (library.fold(item.category), library.fold(item.source)):
        return False
    if local and item.open_source is False:
        return False
    return capability is None or capability in (item.capabilities or _from_structure(item))


def _from_structure(item: Template) -> tuple[Capability, ...]:
    """What a workflow can do where no tag says so."""
    if item.path is None:
        return ()
    try:
        found = parts.open_bytes(library.read(item), item.name).found
    except MissingFileError:
        return ()
    return template_facts.facts(item, found, parts.offline_node_types()).capabilities


def _data(item: Template) -> dict[str, Any]:
    return {key: value for key, value in plain(item).items() if key != "path"}


def _line(item: Template) -> str:
    able = ", ".join(capability.value.replace("_", " ") for capability in item.capabilities)
    return (
        f"[bold]{escape(item.name)}[/]  {escape(item.title)}  [dim]{escape(item.category)}{'; ' * bool(able)}{able}[/]"
    )


def _page(found: Facts, where: str) -> Iterator[Any]:
    item = found.template
    yield f"[bold]{escape(item.title)}[/]  [dim]{escape(item.name)}, {escape(item.category)}[/]"
    if item.description:
        yield escape(item.description)
    yield from _facts(item)
    yield ""
    yield from lines(found.inputs)
    if found.models:
        yield "\n[bold]Models[/]"
    for model in found.models:
        there = {True: "[green]there[/]", False: "[red]missing[/]", None: "[dim]not checked[/]"}[model.on_server]
        yield f"  {escape(model.folder)}/{escape(model.name)}  {there}  [dim]{escape(model.url)}[/]"
    yield "\n[bold]Node classes[/]"
    yield "  " + ", ".join(_class_names(found))
    if found.missing_classes:
        yield f"  [red]{len(found.missing_classes)} not known to ComfyUI {escape(where)}[/]"
    yield from (f"[yellow]warning[/] {escape(problem.message)}" for problem in found.warnings)


def _class_names(found: Facts) -> Iterable[str]:
    return (escape(item.name) if item.known else f"[red]{escape(item.name)}[/]" for item in found.classes)


def _facts(item: Template) -> Iterator[str]:
    rows = (
        ("does", ", ".join(capability.value.replace("_", " ") for capability in item.capabilities)),
        ("tags", ", ".join(item.tags)),
        ("models", ", ".join(item.models)),
        ("makes", item.media_type),
        ("size of models", _size(item.size)),
        ("expected VRAM", _size(item.vram) or "unknown"),
        ("needs ComfyUI", f"{item.min_version} or newer" if item.min_version else ""),
        ("custom nodes", ", ".join(item.custom_nodes)),
        ("runs", {True: "on your own machine", False: "with paid services", None: "not said"}[item.open_source]),
    )
    yield from (f"  [dim]{name}:[/] {escape(value)}" for name, value in rows if value)


def _size(count: int | None) -> str:
    return f"{count / 1024**3:.1f} GiB" if count else ""
