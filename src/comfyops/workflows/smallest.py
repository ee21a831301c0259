"""The smallest run of a workflow: the same nodes and models, small pictures, few frames, two steps. Pure.

It shows that a server loads every model and runs every node; what it makes is not worth looking at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.node_types import InputType, NodeType, NodeTypes

PIXELS = 256
"""Width and height: the least that models of all kinds take."""

STEPS = 2
SECONDS = 2.0
PREFIX = "comfyops-smoke/"

_LENGTHS = frozenset({"length", "frames", "num_frames", "video_frames", "frames_number"})
_PARTS_OF_STEPS = ("start_at_step", "end_at_step")
_MOST_HOPS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """An input that was made smaller; `before` is None where it was computed by other nodes."""

    node: str
    input: str
    before: int | float | None
    after: int | float


@dataclass(frozen=True)
class Smallest:
    """The small graph, and how it differs from the workflow's own."""

    graph: Graph
    changes: tuple[Change, ...]


def smallest(graph: Graph, types: NodeTypes) -> Smallest:
    """Make a workflow small; a number that comes from another node is changed there, a computed one replaced."""
    changes: dict[tuple[str, str], Change] = {}
    for node in graph:
        for name, after in _wishes(node, graph, types):
            place = _literal(graph, node.id, name) or (node.id, name)
            before = _number(graph, place)
            is_linked = type((graph[place[0]].inputs or {}).get(place[1])) is Link
            if place not in changes and (is_linked or (before is not None and after < before)):
                changes[place] = Change(*place, before, after)
    small = graph
    for change in changes.values():
        small = small.with_input(change.node, change.input, change.after)
    return Smallest(_apart(small, types), tuple(changes.values()))


def lacks_picture(types: NodeTypes, class_type: str, name: str, value: object) -> bool:
    """Whether an input names a picture that the server does not have; in a smoke run a grey one stands for it."""
    node_type = types.get(class_type)
    item = node_type.input(name) if node_type is not None else None
    if item is None or not item.options.get("image_upload") or item.choices is None:
        return False
    return types.files_known and isinstance(value, str) and value not in item.choices


def _wishes(node: Node, graph: Graph, types: NodeTypes) -> Iterator[tuple[str, int | float]]:
    """(input, value to have at most) of a node."""
    node_type = types.get(node.class_type or "")
    if node_type is None or node.inputs is None:
        return
    is_beginning = _begins(node_type)
    for item in node_type.inputs:
        if item.name not in node.inputs:
            continue
        if item.name == "steps":
            yield from _steps(node, graph, int(_least(item)))
        elif is_beginning and item.kind in ("INT", "FLOAT"):
            wish = _small(item)
            if wish is not None:
                yield item.name, wish


def _begins(node_type: NodeType) -> bool:
    """Whether a node begins with an empty picture: in latent space, or drawn from its own values alone."""
    made = {output.kind for output in node_type.outputs}
    drawn = not made.isdisjoint(("IMAGE", "MASK")) and all(item.is_widget for item in node_type.inputs)
    return "LATENT" in made or drawn


def _small(item: InputType) -> int | float | None:
    """The small value of an input of a node that begins with an empty picture; None for what is left alone."""
    least = _least(item)
    step = item.options.get("step")
    step = step if isinstance(step, int) and step > 0 else 1
    if item.name in ("width", "height"):
        return max(PIXELS, least)
    if item.name in _LENGTHS:
        return max(1 + step, int(least))
    if item.name == "batch_size":
        return max(1, int(least))
    return max(SECONDS, least) if item.name == "seconds" else None


def _least(item: InputType) -> int | float:
    least = item.options.get("min")
    return least if _is_number(least) else 0


def _steps(node: Node, graph: Graph, least: int) -> Iterator[tuple[str, int | float]]:
    """Fewer steps; where they are shared by several samplers, each keeps its part."""
    most = max(STEPS, least)
    place = _literal(graph, node.id, "steps")
    steps = _number(graph, place) if place else None
    if place is None or (steps is not None and steps > most):
        yield "steps", most
    if steps is None or steps <= most:
        return
    for name in _PARTS_OF_STEPS:
        part = _literal(graph, node.id, name)
        value = _number(graph, part) if part else None
        if value is not None and 0 < value < steps:
            yield name, min(most - 1, max(1, round(value * most / steps)))


def _literal(graph: Graph, node_id: str, name: str) -> tuple[str, str] | None:
    """Where the number of an input stands: there, or in the node that gives nothing but a number."""
    for _ in range(_MOST_HOPS):
        value = (graph[node_id].inputs or {}).get(name) if node_id in graph else None
        if type(value) is not Link:
            return (node_id, name) if _is_number(value) else None
        inputs: Mapping[str, object] = (graph[value.node].inputs or {}) if value.node in graph else {}
        if len(inputs) != 1:
            return None
        node_id, name = value.node, next(iter(inputs))
    return None


def _number(graph: Graph, place: tuple[str, str]) -> int | float | None:
    value = (graph[place[0]].inputs or {}).get(place[1]) if place[0] in graph else None
    return value if _is_number(value) else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _apart(graph: Graph, types: NodeTypes) -> Graph:
    """The graph with its files in a folder of their own on the server."""
    for node in graph:
        node_type = types.get(node.class_type or "")
        prefix = (node.inputs or {}).get("filename_prefix")
        if node_type is not None and node_type.is_output and isinstance(prefix, str):
            graph = graph.with_input(node.id, "filename_prefix", PREFIX + prefix.replace("\\", "/").lstrip("/"))
    return graph
