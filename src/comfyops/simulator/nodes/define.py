"""How a node is written: a plain function from named inputs to outputs, made into what the executor calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.values import frozen_array
from comfyops.workflows.node_types import DYNAMIC_TYPES

Plain = Callable[..., Any]


def computed(function: Plain) -> NodeFunction:
    """A node that runs `function` in a thread, with those of its inputs that the function has parameters for.

    A parameter named `call` gets the whole NodeCall. The function returns one output, a tuple of outputs, or a
    NodeResult; whatever it raises is the node's error.
    """
    wanted = frozenset(inspect.signature(function).parameters)

    async def run(call: NodeCall) -> NodeResult:
        return result(await asyncio.to_thread(function, **_chosen(call, wanted)))

    return run


def instant(function: Plain) -> NodeFunction:
    """Like `computed`, for a function so short that a thread would cost more."""
    wanted = frozenset(inspect.signature(function).parameters)

    async def run(call: NodeCall) -> NodeResult:
        return result(function(**_chosen(call, wanted)))

    return run


def result(given: Any) -> NodeResult:
    """Outputs as a NodeResult, arrays made read-only."""
    if isinstance(given, NodeResult):
        return given
    outputs = given if isinstance(given, tuple) else (given,)
    return NodeResult(tuple(_shareable(value) for value in outputs))


def arguments(call: NodeCall) -> dict[str, Any]:
    """The inputs by name, numbers and texts converted to the declared types, dotted names gathered.

    "resize_type.width" goes into a mapping under "resize_type", which keeps the chosen option under its own name;
    "images.image0" into one under "images".
    """
    gathered: dict[str, Any] = {}
    for name, value in call.inputs.items():
        declared = call.node_type.input(name)
        if declared is None or call.node_type.is_input_list:
            _put(gathered, name.split("."), value)
        else:
            _put(gathered, [name], converted(value, declared.kind))
    for item in call.node_type.inputs:
        if item.kind in DYNAMIC_TYPES and not isinstance(gathered.get(item.name), Mapping):
            gathered[item.name] = {item.name: gathered[item.name]} if item.name in gathered else {}
    return gathered


def converted(value: Any, kind: str) -> Any:
    """A value as the declared type wants it, as the server's validation converts it."""
    if value is None or isinstance(value, Mapping | list | tuple):
        return value
    if kind == "INT":
        return int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "STRING":
        return str(value)
    return bool(value) if kind == "BOOLEAN" else value


def listed(function: Plain) -> NodeFunction:
    """`computed`, for a class that takes lists: every input is one, also where a server's facts do not say so."""

    def on_lists(**inputs: Any) -> Any:
        return function(**{name: value if isinstance(value, list) else [value] for name, value in inputs.items()})

    on_lists.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return computed(on_lists)


def is_array(value: Any) -> bool:
    """Whether a value is an array of numbers (a batch of pictures or masks)."""
    return hasattr(value, "dtype") and value.ndim > 0


def grown(group: Mapping[str, Any]) -> list[Any]:
    """The values of a growing group of inputs, in the order of the numbers in their names."""

    def number(name: str) -> int:
        digits = "".join(char for char in name if char.isdigit())
        return int(digits) if digits else 0

    return [group[name] for name in sorted(group, key=number) if group[name] is not None]


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    if len(path) == 1 or not path[0]:
        known = into.get(path[0])
        if isinstance(known, dict) and not isinstance(value, Mapping):
            known[path[0]] = value
        else:
            into[".".join(path)] = value
        return
    inner = into.get(path[0])
    if not isinstance(inner, dict):
        inner = into[path[0]] = {} if inner is None else {path[0]: inner}
    _put(inner, path[1:], value)


def _chosen(call: NodeCall, wanted: frozenset[str]) -> dict[str, Any]:
    chosen = {name: value for name, value in arguments(call).items() if name in wanted}
    if "call" in wanted:
        chosen["call"] = call
    return chosen


def _shareable(value: Any) -> Any:
    if isinstance(value, list):
        return [_shareable(item) for item in value]
    return frozen_array(value) if is_array(value) else value
