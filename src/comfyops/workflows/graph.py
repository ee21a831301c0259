"""The graph of a workflow: an immutable value.

A graph may be wrong (a link to nowhere, a node without a class): it is what a person or program handed in, and
`validate` says what is wrong with it. Only things that are no graph at all are refused, by `api_format.parse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, Union

from comfyops.errors import UnknownInputError

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = Union[Scalar, "Link", tuple["Value", ...], Mapping[str, "Value"]]
"""One input's value. A JSON list that is not a well-formed link is a plain tuple, a JSON object a read-only mapping."""


class Link(NamedTuple):
    """An input that takes output number `slot` (from 0) of the node with id `node`."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `class_type` is None where it is missing, `inputs` is None where they are missing or no object.

    `oddity` says in words how the JSON form differs from a node's ("" = it does not). `has_meta` tells whether it came
    with a `_meta` object, which ComfyUI needs where it replaces an old class by its successor.
    """

    id: str
    class_type: str | None
    inputs: Mapping[str, Value] | None
    title: str = ""
    oddity: str = ""
    has_meta: bool = False

    def links(self) -> Iterator[tuple[str, Link]]:
        """(input name, link) of each linked input."""
        for name, value in (self.inputs or {}).items():
            if type(value) is Link:
                yield name, value


@dataclass(frozen=True)
class Graph:
    """Nodes by id, in the order in which they were written."""

    nodes: Mapping[str, Node]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.nodes

    def __getitem__(self, node_id: str) -> Node:
        """The node with this id.

        Raises UnknownInputError where there is none.
        """
        try:
            return self.nodes[node_id]
        except KeyError:
            raise UnknownInputError(f"There is no node {node_id!r} in the workflow.", node=node_id) from None

    def of_class(self, *class_types: str) -> tuple[Node, ...]:
        """Nodes of one of these classes, in order."""
        return tuple(node for node in self if node.class_type in class_types)

    def with_node(self, node: Node) -> Graph:
        """A copy with this node added or replaced."""
        return Graph({**self.nodes, node.id: node})

    def with_input(self, node_id: str, name: str, value: Value) -> Graph:
        """A copy in which one input has another value.

        Raises UnknownInputError where there is no such node.
        """
        node = self[node_id]
        return self.with_node(replace(node, inputs=MappingProxyType({**(node.inputs or {}), name: value})))

    def without(self, node_ids: Iterable[str]) -> Graph:
        """A copy without these nodes; links to them are left dangling."""
        gone = set(node_ids)
        return Graph({key: node for key, node in self.nodes.items() if key not in gone})

    def upstream(self, node_ids: Iterable[str]) -> frozenset[str]:
        """These nodes and all that they need, directly or not."""
        found: set[str] = set()
        pending = [key for key in node_ids if key in self.nodes]
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending.extend(link.node for _, link in self.nodes[key].links() if link.node in self.nodes)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Added:
    """A node that a builder added; `added[0]` is a link to its first output."""

    id: str

    def __getitem__(self, slot: int) -> Link:
        return Link(self.id, slot)


class GraphBuilder:
    """Builds a graph node by node, with ids "1", "2", ... in the order of adding."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def add(self, class_type: str, title: str = "", /, **inputs: Value) -> Added:
        """Add a node and return it, so that its outputs can be linked."""
        node_id = str(len(self._nodes) + 1)
        self._nodes[node_id] = Node(node_id, class_type, MappingProxyType(inputs), title)
        return Added(node_id)

    def build(self) -> Graph:
        """The graph so far."""
        return Graph(self._nodes)
