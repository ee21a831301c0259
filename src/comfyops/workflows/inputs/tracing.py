"""Where a graph's values come from: an input's own value, or what feeds it through primitives, switches and sums.

Editors put a value that several nodes use into a node of its own (a "primitive"), let switches choose between two, and
compute one number from others. `Tracer.sources` follows such links back to the values a person would change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.graph import Graph, Link, Node, Value
from comfyops.workflows.node_types import InputType, NodeType, NodeTypes

SCALARS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
_MEDIA = frozenset({"IMAGE", "MASK", "VIDEO", "AUDIO"})
_SIZES = ("width", "height")
_MOST_STEPS = 60  # inputs that one value is followed through; those of real workflows go through fewer than 20


class Place(NamedTuple):
    """One input of one node."""

    node: str
    input: str


@dataclass(frozen=True, slots=True)
class Source:
    """A value that feeds a place: `direct` where it arrives there unchanged, else it is computed with."""

    place: Place
    direct: bool


class Tracer:
    """A graph with its node types, asked where values come from. Cycles and links to nothing lead nowhere."""

    def __init__(self, graph: Graph, types: NodeTypes) -> None:
        self.graph = graph
        self.types = types
        self._declared: dict[str, Mapping[str, InputType]] = {}
        self._sources: dict[tuple[str, str], tuple[Source, ...]] = {}

    def type_of(self, node: Node) -> NodeType | None:
        """The node's type, None where the server has no such class."""
        return self.types.get(node.class_type or "")

    def declared(self, place: Place) -> InputType | None:
        """What the class of the node says of this input, parts of dynamic inputs included."""
        if place.node not in self._declared:
            node = self.graph[place.node]
            node_type = self.type_of(node)
            found = expand(node_type, node.inputs or {}, modern=self.types.is_modern) if node_type else ()
            self._declared[place.node] = {item.name: item for item in found}
        return self._declared[place.node].get(place.input)

    def value(self, place: Place) -> Value:
        """The value given to an input, None where there is none."""
        return (self.graph[place.node].inputs or {}).get(place.input)

    def places(self) -> Iterator[Place]:
        """Every input of every node that is given, nodes that come first in the flow first."""
        for node_id in self.order:
            for name in self.graph[node_id].inputs or {}:
                yield Place(node_id, name)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Node ids by their place in the flow, those that need nothing first, then by number."""
        return tuple(sorted(self.graph.nodes, key=lambda key: (self._depths.get(key, 0), natural(key))))

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The place of each node in `order`."""
        return {key: at for at, key in enumerate(self.order)}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[tuple[Place, int], ...]]:
        """For each node, which inputs take which of its outputs."""
        found: dict[str, list[tuple[Place, int]]] = {}
        for node_id in self.order:
            for name, link in self.graph[node_id].links():
                found.setdefault(link.node, []).append((Place(node_id, name), link.slot))
        return {key: tuple(items) for key, items in found.items()}

    @cached_property
    def _depths(self) -> Mapping[str, int]:
        """The longest way from a node that needs nothing; nodes on a cycle are left at 0."""
        needs = {
            node.id: {link.node for _, link in node.links() if link.node in self.graph and link.node != node.id}
            for node in self.graph
        }
        users: dict[str, list[str]] = {}
        for key, sources in needs.items():
            for source in sources:
                users.setdefault(source, []).append(key)
        ready = [key for key, sources in needs.items() if not sources]
        waiting = {key: len(sources) for key, sources in needs.items()}
        depths = dict.fromkeys(ready, 0)
        for key in ready:
            for user in users.get(key, ()):
                depths[user] = max(depths.get(user, 0), depths[key] + 1)
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        return depths

    def sources(self, place: Place) -> tuple[Source, ...]:
        """The values that feed a place, nearest first, each once; of a value computed from many, the nearest ones."""
        link = self.value(place)
        if type(link) is not Link:
            return self._traced(place)
        key = link.node, leaf(place.input) if leaf(place.input) in _SIZES else ""
        if key not in self._sources:
            self._sources[key] = self._traced(place)
        return self._sources[key]

    def _traced(self, place: Place) -> tuple[Source, ...]:
        found: dict[Place, Source] = {}
        pending = [Source(place, True)]
        seen: set[Place] = set()
        while pending and len(seen) < _MOST_STEPS:
            here = pending.pop(0)
            if here.place in seen:
                continue
            seen.add(here.place)
            value = self.value(here.place)
            if type(value) is not Link:
                if value is not None and not isinstance(value, tuple | Mapping):
                    found.setdefault(here.place, here)
            elif value.node in self.graph:
                pending += self._behind(self.graph[value.node], here.direct, place.input)
        return tuple(found.values())

    def _behind(self, node: Node, direct: bool, wanted: str) -> Iterator[Source]:
        """The inputs of a node that its output depends on."""
        given = node.inputs or {}
        if self.is_constant(node):
            yield from (Source(Place(node.id, name), direct) for name in list(given)[:1])
        elif {"switch", "on_false", "on_true"} <= set(given):
            yield from (Source(Place(node.id, name), direct) for name in self._chosen(node))
        elif leaf(wanted) in _SIZES and (self.takes_media(node) or "width" in given):
            yield from self._size(node, leaf(wanted))
        elif not self.takes_media(node):
            yield from (Source(Place(node.id, name), False) for name in given if self._is_scalar(Place(node.id, name)))

    def _size(self, node: Node, wanted: str) -> Iterator[Source]:
        """The inputs that decide the size of a picture which this node makes or measures."""
        given = node.inputs or {}
        named = [name for name in given if leaf(name) == wanted]
        for name in named or [name for name in given if self._kind(Place(node.id, name)) in _MEDIA]:
            yield Source(Place(node.id, name), False)

    def _chosen(self, node: Node) -> tuple[str, ...]:
        """The side of a switch that is on; both where that is decided while running."""
        found = self.sources(Place(node.id, "switch"))
        if len(found) == 1 and found[0].direct:
            return ("on_true",) if self.value(found[0].place) else ("on_false",)
        return ("on_false", "on_true")

    def is_constant(self, node: Node) -> bool:
        """Whether a node does nothing but hold one value."""
        given = node.inputs or {}
        if len(given) != 1:
            return False
        node_type = self.type_of(node)
        if node_type is None:
            return (node.class_type or "").startswith("Primitive")
        kinds = {item.kind for item in node_type.outputs}
        return bool(kinds) and kinds <= {*SCALARS, "*"} and node_type.inputs[0].is_widget and not node_type.is_output

    def takes_media(self, node: Node) -> bool:
        """Whether a node works on pictures, masks, sound or video."""
        return any(self._kind(Place(node.id, name)) in _MEDIA for name in node.inputs or {})

    def _is_scalar(self, place: Place) -> bool:
        kind = self._kind(place)
        return kind == "*" or not SCALARS.isdisjoint(kind.split(","))

    def _kind(self, place: Place) -> str:
        item = self.declared(place)
        if item is not None:
            return item.kind
        value = self.value(place)
        if type(value) is not Link:
            return "STRING" if isinstance(value, str) else "FLOAT"
        node = self.graph.nodes.get(value.node)
        node_type = self.type_of(node) if node else None
        return node_type.outputs[value.slot].kind if node_type and value.slot < len(node_type.outputs) else "?"


def leaf(name: str) -> str:
    """The last part of a dotted input name."""
    return name.rpartition(".")[2]


def natural(node_id: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts node ids by their numbers, "9" before "10" and "57:3" before "57:12"."""
    parts = re.split(r"[:.]", node_id)
    return tuple((int(part) if part.isdecimal() and len(part) < 19 else -1, part) for part in parts)
