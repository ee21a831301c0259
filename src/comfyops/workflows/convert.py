"""Workflows from one format into the other: what the editor saves, what a server runs.

`to_api` gives the graph that the official editor would send for a workflow, `to_ui` a workflow that shows a graph; see
`conversion` for their parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from comfyops.workflows import api_format, ui_format
from comfyops.workflows.conversion import drawing, group_nodes, match_types, primitives, texts, viewport
from comfyops.workflows.conversion.links import Frame, Given, Resolver, frames, is_virtual
from comfyops.workflows.conversion.live import Layouts, Live
from comfyops.workflows.conversion.subgraphs import Definitions, combos_filled
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.ui_format import UiWorkflow


@dataclass(frozen=True, slots=True)
class Conversion:
    """The graph of a workflow, and what was odd about the workflow."""

    graph: Graph
    warnings: tuple[Problem, ...]


def to_api(ui: UiWorkflow | Mapping[str, Any], types: NodeTypes, *, now: datetime | None = None) -> Conversion:
    """The graph that the official editor sends for a workflow in UI format (parsed, or as parsed JSON).

    Nodes inside subgraphs get ids like "57:3". `now` fills in dates in the names of files; without it they stay as
    they are. Raises WorkflowFormatError where it is no such workflow, or a subgraph contains itself, and
    NodeFactsError where the facts on one of its classes cannot be used.
    """
    workflow = ui if isinstance(ui, UiWorkflow) else ui_format.parse(ui)
    return _Converter(workflow, types, now).convert()


def to_ui(graph: Graph, types: NodeTypes) -> dict[str, Any]:
    """The workflow in UI format, as JSON, that shows this graph and that the editor sends as the same graph.

    Nodes stand from left to right in groups by subject. Whole numbers stay ids, other ids ("57:3") become new numbers;
    inputs that a node's class does not declare are left out unless they are links.
    """
    return drawing.draw(graph, types)


class _Converter:
    def __init__(self, workflow: UiWorkflow, types: NodeTypes, now: datetime | None) -> None:
        self._workflow, self._types, self._now = workflow, types, now
        self._warnings: dict[Problem, None] = {}
        self._resolver = Resolver(self._warn)

    def convert(self) -> Conversion:
        top = self._frames()
        nodes = {node.id: node for node in (self._node(*found) for found in top.walk()) if node is not None}
        return Conversion(_without_lost(nodes), tuple(self._warnings))

    def _frames(self) -> Frame:
        layouts, groups = Layouts(self._types), self._workflow.group_nodes
        definitions = Definitions(self._workflow.subgraphs, layouts)
        root = definitions.open(group_nodes.unpack(self._workflow.graph, groups, layouts))
        graphs = [root, *definitions.graphs.values()]
        for ui in (self._workflow.graph, *(item.graph for item in self._workflow.subgraphs.values())):
            for sentence in ui.oddities:
                self._warn("", "", "odd_entry", sentence)
        for graph in graphs:
            match_types.settle(graph)
            for node in graph.nodes.values():
                combos_filled(node)
        primitives.apply(graphs, self._now)
        return frames(root, definitions.graphs)

    def _node(self, frame: Frame, node: Live) -> Node | None:
        if node.is_off or is_virtual(node):
            return None
        node_id = frame.prefix + node.id
        if node.known is None:
            self._warn(node_id, "", "unknown_class", f"The server has no class {node.type!r}; its inputs are guessed.")
        inputs: dict[str, Value] = {name: self._sent(frame, node, name) for name in node.values}
        for slot in node.slots:
            if slot.link is None:
                continue
            found = self._resolver.resolve(frame, node, slot)
            if type(found) is Given:
                inputs[slot.name] = _wrapped(found.value, node, slot.name)
            elif type(found) is Link:
                inputs[slot.name] = found
        return Node(node_id, node.type, MappingProxyType(inputs), node.title, has_meta=True)

    def _sent(self, frame: Frame, node: Live, name: str) -> Value:
        value = node.values[name]
        if name in node.views and not isinstance(value, dict):
            if name == "image":
                text = "Only the editor draws the pictures that this node needs; they are left out."
                self._warn(frame.prefix + node.id, name, "needs_editor", text)
            return api_format.to_value(viewport.state(node.source.properties, node.values))
        if isinstance(value, str):
            if name in node.prompts:
                return texts.dynamic_prompt(value)
            if name == "filename_prefix" and node.type in texts.SAVERS:
                top = frame
                while top.parent is not None:
                    top = top.parent
                return texts.replaced(value, lambda: [found for _, found in top.walk()], self._now)
            return value
        return _wrapped(value, node, name)

    def _warn(self, node: str, name: str, code: str, sentence: str) -> None:
        self._warnings[Problem(node, name, code, Severity.WARNING, sentence)] = None


def _wrapped(value: Any, node: Live, name: str) -> Value:
    """A value as the server takes it: lists are wrapped, because a bare list would be a link."""
    if isinstance(value, list):
        return MappingProxyType({"__value__": api_format.to_value(value, 1)})
    if isinstance(value, dict):
        return api_format.to_value(value)
    return value  # type: ignore[no-any-return]


def _without_lost(nodes: dict[str, Node]) -> Graph:
    """The graph without links to nodes that do not run."""
    for key, node in nodes.items():
        if any(link.node not in nodes for _, link in node.links()):
            kept = {
                name: value
                for name, value in (node.inputs or {}).items()
                if type(value) is not Link or value.node in nodes
            }
            nodes[key] = Node(key, node.class_type, MappingProxyType(kept), node.title, has_meta=True)
    return Graph(nodes)
