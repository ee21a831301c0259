"""What a workflow of the library needs and takes: inputs, models with their sources, node classes, and what of it a
server has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from comfyops.workflows import capability_rules, convert
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.embedded import Found
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import WorkflowInput, find
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem
from comfyops.workflows.templates import Template


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A weights file that a workflow uses: the models folder it belongs to, where it comes from ("" = not said).

    `on_server` is None where the server's files are not known.
    """

    name: str
    folder: str
    url: str = ""
    on_server: bool | None = None


@dataclass(frozen=True, slots=True)
class NodeClass:
    """A class of nodes that a workflow uses; `known` tells whether the server has it."""

    name: str
    known: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about one workflow; `template` with capabilities from its structure too."""

    template: Template
    inputs: tuple[WorkflowInput, ...]
    models: tuple[ModelFile, ...]
    classes: tuple[NodeClass, ...]
    warnings: tuple[Problem, ...]

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """The classes that the server does not have."""
        return tuple(item.name for item in self.classes if not item.known)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the workflow can do."""
        return self.template.capabilities


def facts(template: Template, found: Found, types: NodeTypes) -> Facts:
    """The facts of a workflow, on a server with these node types.

    Raises WorkflowFormatError.
    """
    graph, warnings = graph_of(found, types)
    inputs = find(graph, types)
    merged = capability_rules.merged(template.capabilities, capability_rules.of_graph(graph, inputs))
    return Facts(
        template=replace(template, capabilities=merged),
        inputs=inputs,
        models=tuple(_models(found.ui, graph, types)),
        classes=tuple(NodeClass(name, name in types) for name in _classes(graph)),
        warnings=warnings,
    )


def graph_of(found: Found, types: NodeTypes) -> tuple[Graph, tuple[Problem, ...]]:
    """The graph to run, and what was odd when it was made. Raises WorkflowFormatError."""
    if found.prompt is not None:
        return found.prompt, ()
    made = convert.to_api(found.ui or {}, types)
    return made.graph, made.warnings


def _classes(graph: Graph) -> list[str]:
    return sorted({node.class_type for node in graph if node.class_type})


def _models(ui: Mapping[str, Any] | None, graph: Graph, types: NodeTypes) -> Iterator[ModelFile]:
    """The models that the editor's nodes name with their source, then others that the graph names."""
    there = files_of(types) if types.files_known else None
    seen: set[str] = set()
    for name, folder, url in (*_sourced(ui), *_named(graph, types)):
        base = name.replace("\\", "/").rpartition("/")[2]
        if base not in seen:
            seen.add(base)
            yield ModelFile(name, folder, url, None if there is None else _has(there, folder, base))


def _sourced(ui: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    """Name, folder and URL of `properties.models` of every node, in subgraphs too."""
    for node in _nodes(ui):
        properties = node.get("properties")
        models = properties.get("models") if isinstance(properties, dict) else None
        for item in models if isinstance(models, list) else ():
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                yield item["name"], str(item.get("directory") or ""), str(item.get("url") or "")


def _nodes(ui: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    definitions = (ui or {}).get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    for graph in (ui or {}, *(subgraphs if isinstance(subgraphs, list) else ())):
        nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
        yield from (node for node in (nodes if isinstance(nodes, list) else ()) if isinstance(node, dict))


def _named(graph: Graph, types: NodeTypes) -> Iterator[tuple[str, str, str]]:
    for node in graph:
        for name, value in (node.inputs or {}).items():
            folder = types.folder(node.class_type or "", name)
            if folder not in (None, "input") and isinstance(value, str) and "." in value:
                yield value, folder or "", ""


def files_of(types: NodeTypes) -> Mapping[str, frozenset[str]]:
    """The model files that a server lists, by folder, without their subfolders."""
    found: dict[str, set[str]] = {}
    for class_type, names in types.folders.items():
        if class_type in types:
            for name, folder in names.items():
                item = types[class_type].input(name)
                found.setdefault(folder, set()).update(str(choice) for choice in (item.choices if item else None) or ())
    return {
        folder: frozenset(name.replace("\\", "/").rpartition("/")[2] for name in names)
        for folder, names in found.items()
    }


def _has(there: Mapping[str, frozenset[str]], folder: str, base: str) -> bool:
    if folder in there:
        return base in there[folder]
    return any(base in names for names in there.values())
