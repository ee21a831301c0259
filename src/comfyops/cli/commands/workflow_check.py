"""`comfyops workflow check`: whether a server could run a workflow, asked before it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, in_words, plain
from comfyops.errors import UnsupportedError
from comfyops.workflows import ui_format
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Severity
from comfyops.workflows.readiness import DeviceFacts, Fit, ModelNeed, Readiness, VramFit, readiness
from comfyops.workflows.stated import Stated, stated

if TYPE_CHECKING:
    from comfyops.backends.backend import SystemStats
    from comfyops.backends.model_files import ServerModel
    from comfyops.config import Settings

_COLOURS = {"ok": "green", "missing": "red", "wrong": "red", "unknown": "yellow", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of its nodes, itself and its models."""

    types: NodeTypes
    stats: SystemStats
    models: tuple[ServerModel, ...]


def run(
    workflow: Annotated[str, typer.Argument(help="Workflow file (JSON, or media with one inside) or template's name.")],
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Say what a server lacks for a workflow: nodes, models, inputs, memory. Ends with 1 where it could not run.

    Sources of models are those that the workflow names itself. The memory is that for the model files alone.
    """
    chosen = settings(server=server, token=token, api_prefix=api_prefix)
    opened = parts.open_workflow(workflow, parts.library(chosen))
    facts = wait_for(server_facts(chosen))
    found = readiness(
        opened.found.graph(facts.types),
        facts.types,
        stated=stated(ui_format.parse(opened.found.ui)) if opened.found.ui is not None else Stated(),
        sizes={(item.folder, item.name): item.size for item in facts.models if item.size is not None},
        device=device_of(facts.stats),
    )
    data = {"workflow": opened.name, "server": chosen.server, "ready": found.ready, **plain(found)}
    verdict = "could run" if found.ready else "could not run"
    note = f"{opened.name} {verdict} on {chosen.server} (ComfyUI {facts.stats.version or '?'})"
    return Result("workflow check", data, _table(found), [escape(note)], exit_code=0 if found.ready else 1)


async def server_facts(chosen: Settings) -> ServerFacts:
    """Ask a server. Raises BackendError where it does not answer."""
    async with parts.connect(chosen) as backend:
        types, stats = await asyncio.gather(backend.node_types(), backend.system_stats())
        try:
            models = await backend.model_files()
        except UnsupportedError:  # a server so old that it tells no files: sizes stay unknown
            models = ()
        return ServerFacts(types, stats, models)


def device_of(stats: SystemStats) -> DeviceFacts | None:
    """The first device, which ComfyUI computes on."""
    if not stats.devices:
        return None
    first = stats.devices[0]
    return DeviceFacts(first.name, first.vram_total, first.vram_free)


def _table(found: Readiness) -> Iterator[str]:
    rows = list(_rows(found))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for state, kind, name, words in rows:
        cells = f"{escape(state.ljust(widths[0]))}[/]  {kind.ljust(widths[1])}  {escape(name.ljust(widths[2]))}"
        yield f"[{_COLOURS[state]}]{cells}  [dim]{escape(words)}[/]".rstrip()


def _rows(found: Readiness) -> Iterator[tuple[str, str, str, str]]:
    """(state, kind, name, words) of everything that was looked at."""
    for node in found.missing_nodes:
        bringer = f"brought by {node.brought_by}" if node.brought_by else "what brings it is not known"
        words = f"{bringer}{f', {node.url}' if node.url else ''}; node {', '.join(node.nodes)}"
        yield "missing", "node", node.class_type, words
    for model in found.models:
        state = "warning" if model.size == 0 else {True: "ok", False: "missing", None: "unknown"}[model.installed]
        yield state, "model", f"{model.folder}/{model.name}", _source(model)
    for problem in found.problems:
        state = "warning" if problem.severity is Severity.WARNING else "wrong"
        place = ".".join(part for part in (problem.node, problem.input) if part)
        yield state, "input", place or "workflow", problem.message
    fits = {Fit.FITS: "ok", Fit.AFTER_UNLOADING: "ok", Fit.TOO_LARGE: "warning", Fit.UNKNOWN: "unknown"}
    yield fits[found.vram.fit], "VRAM", str(found.vram.fit), _memory(found.vram)


def _source(model: ModelNeed) -> str:
    size = in_words(model.size) if model.size is not None else "size unknown"
    if model.size == 0:
        return "the file is empty: it was not fetched whole"
    if model.installed:
        return size
    return f"{size}; {f'source {model.url}' if model.url else 'the workflow names no source'}"


def _memory(vram: VramFit) -> str:
    known = f"model files of known size take {in_words(vram.known_bytes)}"
    unknown = f", {len(vram.unknown)} of unknown size" if vram.unknown else ""
    if vram.device is None:
        return f"{known}{unknown}; the server names no device"
    device = f"{vram.device.name} has {in_words(vram.device.vram_total)}, {in_words(vram.device.vram_free)} free"
    more = "; ComfyUI then keeps parts in RAM, which is slower" if vram.fit is Fit.TOO_LARGE else ""
    return f"{known}{unknown}; {device}{more}"
