"""What a workflow in UI format says of its own needs: packs of its nodes, and where its models come from.

Source: the properties that the official editor and templates write to nodes: `cnr_id` (id in the registry of packs),
`aux_id` (owner/name at GitHub) and `models` (a list of name, url, directory).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyops.workflows.packs import Pack
from comfyops.workflows.ui_format import UiNode, UiWorkflow

CORE = "comfy-core"
"""The `cnr_id` of ComfyUI's own nodes."""


@dataclass(frozen=True, slots=True)
class StatedModel:
    """A model file that a workflow names: folder and name as nodes know them, and its address ("" = none)."""

    folder: str
    name: str
    url: str = ""


@dataclass(frozen=True)
class Stated:
    """What a workflow says: the pack of each class, classes that it calls ComfyUI's own, and its models, each once."""

    packs: Mapping[str, Pack] = field(default_factory=dict)
    core: frozenset[str] = frozenset()
    models: tuple[StatedModel, ...] = ()


def stated(workflow: UiWorkflow) -> Stated:
    """Everything that the nodes say, those inside subgraphs and group nodes too."""
    packs: dict[str, Pack] = {}
    core: set[str] = set()
    models: dict[tuple[str, str], StatedModel] = {}
    for node in _nodes(workflow):
        pack = _pack(node.properties)
        if pack is not None:
            packs.setdefault(node.type, pack)
        elif node.properties.get("cnr_id") == CORE:
            core.add(node.type)
        for model in _models(node.properties):
            models.setdefault((model.folder, model.name), model)
    return Stated(packs, frozenset(core), tuple(models.values()))


def _nodes(workflow: UiWorkflow) -> Iterator[UiNode]:
    yield from workflow.graph.nodes
    for subgraph in workflow.subgraphs.values():
        yield from subgraph.graph.nodes
    for group in workflow.group_nodes.values():
        yield from group.nodes


def _pack(properties: Mapping[str, Any]) -> Pack | None:
    registry, repository = properties.get("cnr_id"), properties.get("aux_id")
    at_github = isinstance(repository, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", repository)
    url = f"https://github.com/{repository}" if at_github else ""
    if isinstance(registry, str) and registry and registry != CORE:
        return Pack(registry, url)
    return Pack(str(repository).partition("/")[2], url) if at_github else None


def _models(properties: Mapping[str, Any]) -> Iterator[StatedModel]:
    listed = properties.get("models")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and isinstance(item.get("name"), str) and item["name"]:
            folder, url = item.get("directory"), item.get("url")
            address = url if isinstance(url, str) and url.startswith(("https://", "http://")) else ""
            yield StatedModel(folder if isinstance(folder, str) else "", item["name"], address)
