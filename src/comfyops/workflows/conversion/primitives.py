"""Primitive nodes: they put their value into the fields they are linked to. Source: the official editor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
            target.values[slot.name] = _fitted(_value(giver, all_graphs, now), target, slot.name)


def _value(giver: Live, graphs: list[LiveGraph], now: datetime | None) -> Any:
    value = giver.source.values[0] if isinstance(giver.source.values, tuple) else None
    if isinstance(value, str) and giver.source.properties.get(_REPLACE) is True:
        return texts.replaced(value, lambda: [node for graph in graphs for node in graph.nodes.values()], now)
    return value


def _fitted(value: Any, target: Live, name: str) -> Any:
    """A number as the field takes it: within its limits, a multiple of its step."""
    declared = target.known.input(name) if target.known is not None else None
    if declared is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    options = declared.options
    if declared.kind == "INT":
        return _whole(_limited(value, options), options)
    if declared.kind == "FLOAT":
        return _limited(_rounded(_limited(value, options), options), options)
    return value


def _limited(value: float, options: Mapping[str, Any]) -> float:
    limited: float = max(options.get("min", 0), min(value, options.get("max", 2048)))
    return limited


def _whole(value: float, options: Mapping[str, Any]) -> float:
    step = options.get("step") or 1
    offset = 0 if step == 1 else math.fmod(options.get("min", 0), step)
    steps = (value - offset) / step if step != 1 or isinstance(value, float) else value
    found = math.floor(steps + 0.5) * step + offset if isinstance(steps, float) else steps
    return int(found) if found == int(found) else found


def _rounded(value: float, options: Mapping[str, Any]) -> float:
    """Rounded to the digits of the step (0.01 has two), or to the declared `round`."""
    digits = max(0, -math.floor(math.log10(options.get("step") or 0.5)))
    unit = options.get("round") or (10.0**-digits if digits else 0)
    if not unit:
        return value
    return round(math.floor(value / unit + 0.5) * unit, digits)
