"""How lists of values pass through nodes, and what Python says of arguments that a node does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from comfyops.simulator.call import NodeResult
from comfyops.workflows.node_types import DYNAMIC_TYPES, NodeType

_CORE = ("nodes", "comfy_extras.", "comfy_api_nodes.")


def merge_outputs(results: list[NodeResult], node_type: NodeType) -> tuple[list[Any], ...]:
    """One list of values per output over all calls of a node; outputs that are lists are joined."""
    merged: list[list[Any]] = []
    for slot in range(max((len(result.outputs) for result in results), default=0)):
        values = [result.outputs[slot] for result in results]
        is_list = slot < len(node_type.outputs) and node_type.outputs[slot].is_list
        merged.append([item for value in values for item in value] if is_list else values)
    return tuple(merged)


def merge_ui(results: list[NodeResult]) -> dict[str, list[Any]] | None:
    """What a node shows over all its calls: the lists under each key joined; None = nothing."""
    shown = [result.ui for result in results if result.ui]
    if not shown:
        return None
    return {key: [item for ui in shown for item in ui.get(key, ())] for key in shown[0]}


def check_arguments(node_type: NodeType, inputs: Iterable[str], declared: Set[str]) -> None:
    """Refuse what a core node's function would not take: links to inputs it does not have, and no dynamic input at all.

    Raises TypeError in Python's words.
    """
    if not node_type.module.startswith(_CORE):
        return
    where = f"{node_type.name}.execute()"
    for name in inputs:
        if name not in declared and node_type.input(name) is None:
            raise TypeError(f"{where} got an unexpected keyword argument '{name}'")
    for item in node_type.inputs:
        if item.required and item.kind in DYNAMIC_TYPES and not any(_is_part(name, item.name) for name in inputs):
            raise TypeError(f"{where} missing 1 required positional argument: '{item.name}'")


def _is_part(name: str, group: str) -> bool:
    return name == group or name.startswith(f"{group}.")


def calls(node_type: NodeType, inputs: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The inputs of each call: one per item of the longest list, shorter ones repeat their last item."""
    if node_type.is_input_list:
        return [dict(inputs)]
    count = max((len(values) for values in inputs.values()), default=1)
    return [{name: values[min(index, len(values) - 1)] for name, values in inputs.items()} for index in range(count)]


def type_name(error: Exception) -> str:
    name = getattr(error, "type_name", None)
    kind = type(error)
    return str(name or (kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"))


def shown_value(value: Any) -> Any:
    if value is None or isinstance(value, int | float | str):
        return value
    text = str(value)
    return text if len(text) <= 2000 else text[:2000]
