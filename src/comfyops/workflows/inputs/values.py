"""Values given for inputs: read from text, checked, and made into what each node takes."""

from __future__ import annotations

import math
from typing import Any

from comfyops.errors import InvalidValueError
from comfyops.workflows.dynamic_inputs import expand
from comfyops.workflows.graph import Graph, Value
from comfyops.workflows.inputs.tracing import Place
from comfyops.workflows.inputs.workflow_input import Encoding, WorkflowInput
from comfyops.workflows.nearest import nearest_choice
from comfyops.workflows.node_types import InputType, NodeTypes

_WORDS = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false", "STRING": "a text"}
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_KINDS = {"integer": "INT", "number": "FLOAT", "boolean": "BOOLEAN", "choice": "COMBO"}


def for_input(value: object, item: WorkflowInput) -> Value:
    """A value as this input takes it.

    Raises InvalidValueError naming range or choices.
    """
    if item.encoding is Encoding.ALPHA:
        words = f"{item.name} is a mask: it has to be joined with its picture on a server before it is set."
        raise InvalidValueError(words, name=item.name)
    found = _read(value, _KINDS.get(item.kind, "STRING"), item.name)
    if item.choices is not None:
        found = _chosen(found, item.choices, item.name)
    return _in_range(found, item.minimum, item.maximum, item.name)


def for_place(value: object, place: Place, graph: Graph, types: NodeTypes, name: str, *, strict: bool = True) -> Value:
    """A value as one node's input takes it; `strict` refuses what is out of its range too.

    Raises InvalidValueError.
    """
    item = declared(place, graph, types)
    if item is None:
        return _plain(value, name)
    found = _read(value, "COMBO" if item.choices is not None else item.kind, name)
    choices = item.choices or ()
    found = next((choice for choice in choices if str(choice) == str(found)), found)
    if strict:
        found = _in_range(found, item.options.get("min"), item.options.get("max"), name)
    return found


def declared(place: Place, graph: Graph, types: NodeTypes) -> InputType | None:
    """What the node's class says of an input, parts of dynamic ones included; None where nothing is known."""
    node = graph[place.node]
    if node.class_type is None or node.class_type not in types:
        return None
    found = expand(types[node.class_type], node.inputs or {}, modern=types.is_modern)
    return next((item for item in found if item.name == place.input), None)


def _read(value: object, kind: str, name: str) -> Value:
    try:
        if kind == "INT":
            return _whole(value)
        if kind == "FLOAT":
            return _finite(value)
        if kind == "BOOLEAN":
            return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().casefold()]
        if kind == "STRING" and not isinstance(value, str | int | float):
            raise ValueError(value)
    except (ValueError, KeyError, OverflowError):
        shown = repr(value)[:62]
        raise InvalidValueError(f"{name} takes {_WORDS[kind]}, which {shown} is not.", name=name) from None
    return str(value) if kind == "STRING" else _plain(value, name)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(value)
    return number


def _finite(value: object) -> float | int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return value if isinstance(value, int) else number


def _plain(value: object, name: str) -> Value:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InvalidValueError(f"{name} takes a text, number or boolean, not {type(value).__name__}.", name=name)


def _chosen(value: Value, choices: tuple[Any, ...], name: str) -> Value:
    for same in (str(value), str(value).casefold()):
        for choice in choices:
            if same in (str(choice), str(choice).casefold()):
                found: Value = choice
                return found
    near = nearest_choice(value, choices)
    words = f"{name} cannot be {value!r}; nearest: {', '.join(near)}." if near else f"{name} has no choice {value!r}."
    raise InvalidValueError(words, name=name, suggestions=near)


def _in_range(value: Value, minimum: Any, maximum: Any, name: str) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if minimum is not None and value < minimum:
            raise InvalidValueError(f"{name} is at least {minimum}; {value} is less.", name=name, minimum=minimum)
        if maximum is not None and value > maximum:
            raise InvalidValueError(f"{name} is at most {maximum}; {value} is more.", name=name, maximum=maximum)
    return value
