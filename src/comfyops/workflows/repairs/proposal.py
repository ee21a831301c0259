"""A repair as a value: what it would change, why, and whether it is more than a guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from comfyops.workflows.api_format import from_value
from comfyops.workflows.graph import Node, Value


class Kind(StrEnum):
    """What a change does."""

    SET = "set"  # an input gets another value
    DROP = "drop"  # an input is left out
    RENAME = "rename"  # an input gets another name; before and after are names
    CLASS = "class"  # the node becomes one of another class; before and after are classes
    ADD = "add"  # a node is added; after is its class


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a graph: of which node and input ("" = the node itself), from what to what, and why, in a sentence.

    `before` and `after` are JSON values, None where there is nothing. `certain` ones follow from the graph and the node
    types alone; the others are guesses.
    """

    node: str
    input: str
    kind: Kind
    before: Any
    after: Any
    why: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes that belong together, and the nodes as they are after them."""

    changes: tuple[Change, ...]
    nodes: tuple[Node, ...]

    @property
    def certain(self) -> bool:
        """Whether none of the changes is a guess."""
        return all(change.certain for change in self.changes)


def set_input(node: Node, name: str, value: Value, why: str, *, certain: bool) -> Proposal:
    """Give an input this value."""
    inputs = dict(node.inputs or {})
    before = from_value(inputs[name]) if name in inputs else None
    change = Change(node.id, name, Kind.SET, before, from_value(value), why, certain)
    return Proposal((change,), (with_inputs(node, {**inputs, name: value}),))


def drop_input(node: Node, name: str, why: str, *, certain: bool) -> Proposal:
    """Leave an input out."""
    inputs = dict(node.inputs or {})
    change = Change(node.id, name, Kind.DROP, from_value(inputs.pop(name)), None, why, certain)
    return Proposal((change,), (with_inputs(node, inputs),))


def rename_input(node: Node, old: str, new: str, why: str, *, certain: bool) -> Proposal:
    """Give an input another name, in the same place."""
    inputs = {new if name == old else name: value for name, value in (node.inputs or {}).items()}
    return Proposal((Change(node.id, old, Kind.RENAME, old, new, why, certain),), (with_inputs(node, inputs),))


def change_class(node: Node, class_type: str, inputs: dict[str, Value], why: str, *, certain: bool) -> Proposal:
    """Make the node one of another class, with these inputs."""
    change = Change(node.id, "", Kind.CLASS, node.class_type, class_type, why, certain)
    return Proposal((change,), (replace(with_inputs(node, inputs), class_type=class_type),))


def with_inputs(node: Node, inputs: dict[str, Value]) -> Node:
    """The node with these inputs, and without what was odd about its old ones."""
    return replace(node, inputs=MappingProxyType(inputs), oddity="" if node.class_type is not None else node.oddity)


Proposals = Iterator[Proposal]
