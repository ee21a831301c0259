"""Primitive nodes: they put their value into the fields they are linked to. Source: the official editor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from comfyops.workflows.conversion import texts
from comfyops.workflows.conversion.live import Live, LiveGraph
from comfyops.workflows.conversion.subgraphs import PRIMITIVE

_REPLACE = "Run widget replace on values"


def apply(graphs: Iterable[LiveGraph], now: datetime | None) -> None:
    """Set the fields that primitive nodes are linked to."""
    listed = list(graphs)
    for graph in listed:
        givers = {node.id: node for node in graph.nodes.values() if node.type == PRIMITIVE and node.known is None}
        if givers:
            _apply(graph, givers, listed, now)


def _apply(graph: LiveGraph, givers: dict[str, Live], all_graphs: list[LiveGraph], now: datetime | None) -> None:
    for link in graph.links.values():
        giver, target = givers.get(link.origin), graph.nodes.get(link.target)
        if giver is None or target is None or not isinstance(giver.source.values, tuple) or not giver.source.values:
            continue
        slot = target.slot_of_link(link.id)
        if slot is not None and slot.widget and slot.name in target.values:
            target.values[slot.name] = _value(giver, all_graphs, now)


def _value(giver: Live, graphs: list[LiveGraph], now: datetime | None) -> Any:
    value = giver.source.values[0] if isinstance(giver.source.values, tuple) else None
    if isinstance(value, str) and giver.source.properties.get(_REPLACE) is True:
        return texts.replaced(value, lambda: [node for graph in graphs for node in graph.nodes.values()], now)
    return value
