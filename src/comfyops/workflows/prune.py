"""Leaving out the nodes of a graph that no output needs: a server would not run them anyway."""

from __future__ import annotations

from dataclasses import dataclass

from comfyops.workflows.formatting import sources
from comfyops.workflows.graph import Graph, Node
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True)
class Pruned:
    """A graph without idle nodes, and the nodes that were left out, in order."""

    graph: Graph
    removed: tuple[Node, ...]


def prune(graph: Graph, types: NodeTypes) -> Pruned:
    """Leave out what no output needs.

    Nodes that a server could not even read, and those of classes it does not have (they may be outputs), stay with all
    that they need. A graph without any output stays whole.
    """
    wanted = [node.id for node in graph if _is_wanted(node, types)]
    kept = _needed(graph, wanted) if wanted else set(graph.nodes)
    removed = tuple(node for node in graph if node.id not in kept)
    return Pruned(graph.without(node.id for node in removed), removed)


def _is_wanted(node: Node, types: NodeTypes) -> bool:
    if node.class_type is None or node.class_type not in types:
        return True
    return types[node.class_type].is_output or (node.inputs is not None and bool(node.oddity))


def _needed(graph: Graph, wanted: list[str]) -> set[str]:
    found: set[str] = set()
    pending = list(wanted)
    while pending:
        key = pending.pop()
        if key not in found:
            found.add(key)
            pending += [source for source in sources(graph[key]) if source in graph]
    return found
