"""Addresses of single inputs: NODE.INPUT, the node by its id, title or class, and bare names of inputs."""

from __future__ import annotations

from collections.abc import Iterator

from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.inputs.tracing import Place


def full(graph: Graph, name: str) -> tuple[Place, ...]:
    """The inputs of the nodes before a dot of the name; both may hold dots themselves."""
    found: dict[Place, None] = {}
    node_name, dot, input_name = name.partition(".")
    while dot:
        for node in _called(graph, node_name):
            if input_name in settable(node):
                found[Place(node.id, input_name)] = None
        more, dot, input_name = input_name.partition(".")
        node_name = f"{node_name}.{more}"
    return tuple(found)


def bare(graph: Graph, name: str) -> tuple[Place, ...]:
    """The inputs of this name in any node."""
    return tuple(Place(node.id, name) for node in graph if name in settable(node))


def names(graph: Graph) -> Iterator[str]:
    """Every address there is."""
    for node in graph:
        for name in settable(node):
            yield name
            yield from (f"{called}.{name}" for called in (node.id, node.title, node.class_type) if called)


def settable(node: Node) -> list[str]:
    """The inputs of a node that hold a value, not a link."""
    return [name for name, value in (node.inputs or {}).items() if type(value) is not Link]


def _called(graph: Graph, name: str) -> tuple[Node, ...]:
    """The node with this id, else those with this title, else those of this class."""
    if name in graph:
        return (graph[name],)
    return tuple(node for node in graph if node.title == name) or graph.of_class(name)
