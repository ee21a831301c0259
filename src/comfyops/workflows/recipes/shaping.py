"""Shaping graphs: switches decided, values put in place, LoRAs put in, what nothing needs left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from comfyops.errors import WorkflowFormatError
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes.recipe import Lora

_PRIMITIVES = frozenset({"PrimitiveInt", "PrimitiveFloat", "PrimitiveBoolean", "PrimitiveString"})
_SWITCH = "ComfySwitchNode"
_LOADERS = ("UNETLoader", "CheckpointLoaderSimple")


@dataclass(frozen=True, slots=True)
class Pin:
    """Where a value goes: an input of every node of a class.

    `title` restricts it to nodes whose title holds this text, `role` to those that feed inputs of this name, such as
    `negative`, `given` to nodes whose named input holds this value.
    """

    class_type: str
    input: str
    title: str = ""
    role: str = ""
    given: tuple[str, str] = ("", "")

    def means(self, node: Node) -> bool:
        """Whether title and `given` fit a node of this class."""
        name, value = self.given
        return self.title in node.title and (not name or (node.inputs or {}).get(name) == value)


def folded(graph: Graph, *, switches: bool) -> Graph:
    """The graph with every yes-or-no switch set and taken out, and primitive numbers put where they are used."""
    for node in graph.of_class(_SWITCH):
        link = (node.inputs or {}).get("switch")
        if type(link) is Link and graph[link.node].class_type == "PrimitiveBoolean":
            graph = graph.with_input(link.node, "value", switches)
    return Graph({node.id: replace(node, inputs=_meant(graph, node)) for node in graph})


def _meant(graph: Graph, node: Node) -> Mapping[str, Value]:
    given = node.inputs or {}
    return MappingProxyType({name: _meaning(graph, value, 0) for name, value in given.items()})


def _meaning(graph: Graph, value: Value, depth: int) -> Value:
    """What a link stands for: a constant, the chosen side of a switch, or itself."""
    if type(value) is not Link or value.node not in graph or depth > 50:
        return value
    node = graph[value.node]
    inputs = node.inputs or {}
    if node.class_type in _PRIMITIVES and type(inputs.get("value")) is not Link:
        return inputs["value"]
    if node.class_type == _SWITCH:
        side = "on_true" if _meaning(graph, inputs.get("switch"), depth + 1) else "on_false"
        return _meaning(graph, inputs.get(side), depth + 1)
    return value


def put(graph: Graph, pin: Pin, value: Value, types: NodeTypes) -> Graph:
    """The graph with a value at a pin, as a whole number where the input takes one.

    Raises WorkflowFormatError where no node is meant: the template is another than the recipe knows.
    """
    reached = feeding(graph, pin.role) if pin.role else None
    nodes = [
        node for node in graph.of_class(pin.class_type) if pin.means(node) and (reached is None or node.id in reached)
    ]
    if not nodes:
        raise WorkflowFormatError(f"The workflow has no {pin.class_type} node {pin.title!r} for {pin.input!r}.")
    for node in nodes:
        graph = graph.with_input(node.id, pin.input, _as_declared(value, node, pin.input, types))
    return graph


def _as_declared(value: Value, node: Node, name: str, types: NodeTypes) -> Value:
    class_type = node.class_type or ""
    declared = types[class_type].input(name) if class_type in types else None
    if isinstance(value, float) and declared is not None and declared.kind == "INT":
        return round(value)
    return value


def feeding(graph: Graph, role: str) -> frozenset[str]:
    """Nodes that feed inputs of this name; of a node that has such an input itself, only that one is followed."""
    pending = [link.node for node in graph for name, link in node.links() if name == role]
    found: set[str] = set()
    while pending:
        key = pending.pop()
        if key in found or key not in graph or graph[key].class_type == "ConditioningZeroOut":
            continue
        found.add(key)
        links = dict(graph[key].links())
        pending += [links[role].node] if role in links else [link.node for link in links.values()]
    return frozenset(found)


def with_loras(graph: Graph, loras: Sequence[Lora]) -> Graph:
    """The graph with LoRAs behind every loader of a diffusion model or checkpoint."""
    for loader in graph.of_class(*_LOADERS) if loras else ():
        graph = _with_loras(graph, loader.id, loras)
    return graph


def _with_loras(graph: Graph, loader: str, loras: Sequence[Lora]) -> Graph:
    source, added = Link(loader, 0), []
    for number, lora in enumerate(loras, 1):
        inputs: dict[str, Value] = {"model": source, "lora_name": lora.name, "strength_model": lora.strength}
        node = Node(f"{loader}:lora{number}", "LoraLoaderModelOnly", MappingProxyType(inputs), has_meta=True)
        added.append(node)
        source = Link(node.id, 0)
    if not any(link == Link(loader, 0) for node in graph for _, link in node.links()):
        return graph
    moved = {node.id: replace(node, inputs=_moved(node, Link(loader, 0), source)) for node in graph}
    return Graph({**moved, **{node.id: node for node in added}})


def _moved(node: Node, old: Link, new: Link) -> Mapping[str, Value]:
    return MappingProxyType({name: new if value == old else value for name, value in (node.inputs or {}).items()})


def only(graph: Graph, outputs: Iterable[str]) -> Graph:
    """The graph of these nodes and what they need."""
    wanted = graph.upstream(outputs)
    return Graph({node.id: node for node in graph if node.id in wanted})
