"""How much a server writes down of a graph before it runs it.

For its cache it notes, of each node, every value of all nodes upstream of it, in about 500 bytes each: a chain of 300
nodes with 100 inputs (350 kB of JSON) takes 80 seconds and over 2 GB, one of 900 nodes all memory that there is.

Source: measured on ComfyUI 0.33.0, which answers no more once its memory is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.problems import Problem, Severity

MOST_REMEMBERED = 3_000_000
"""Values that a server can note in reason: about 1.4 GB."""

Sources = Callable[[Node], Iterable[str]]
"""The nodes that a server follows the inputs of a node to."""


def remembered(graph: Graph, sources: Sources) -> Iterator[Problem]:
    """The danger in a graph of which a server notes more than it can stand."""
    if _is_too_much(graph, sources):
        words = (
            "Long chains of nodes with many values: a server notes them for each node below till its memory is full."
        )
        yield Problem("", "", "remembers_too_much", Severity.DANGER, words)


def _is_too_much(graph: Graph, sources: Sources) -> bool:
    """Whether it is; cycles are not judged."""
    values = {node.id: 2 + sum(_size(value) for value in (node.inputs or {}).values()) for node in graph}
    if len(values) * sum(values.values()) <= MOST_REMEMBERED:  # even were every node upstream of every other
        return False
    return sum(count * values[key] for key, count in _uses(graph, sources).items()) > MOST_REMEMBERED


def _uses(graph: Graph, sources: Sources) -> dict[str, int]:
    """By how many nodes, itself among them, each node is needed; sets of nodes are bits of a number."""
    needs = {node.id: {key for key in sources(node) if key in graph.nodes} for node in graph}
    users = dict.fromkeys(graph.nodes, 0)
    for found in needs.values():
        for source in found:
            users[source] += 1
    below = {key: 1 << number for number, key in enumerate(graph.nodes)}
    ready = [key for key, count in users.items() if not count]
    for key in ready:  # grows while it is gone through
        for source in needs[key]:
            below[source] |= below[key]
            users[source] -= 1
            if not users[source]:
                ready.append(source)
    return {key: found.bit_count() for key, found in below.items()}


def _size(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(_size(item) for item in value.values())
    if isinstance(value, tuple) and type(value) is not Link:
        return 1 + sum(_size(item) for item in value)
    return 1
