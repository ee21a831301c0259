"""Values that a server refuses: out of range, not in the list, no number, not there at all."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from comfyops.workflows.checks.inputs import Fault, InputCheck, unwrapped
from comfyops.workflows.graph import Node, Value
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import DYNAMIC_COMBO, NodeType
from comfyops.workflows.repairs.bench import Bench, declared, fault_of, word
from comfyops.workflows.repairs.proposal import Proposals, set_input

_LIKENESS, _FILE_LIKENESS = 0.6, 0.85
"""How much like the value a guessed choice has to be (1 = the same): another model file is soon another model."""

_EMPTY = {"STRING": "", "INT": 0, "FLOAT": 0.0, "BOOLEAN": False}


def missing(bench: Bench, node: Node, check: InputCheck) -> Proposals:
    """A field that is not given, filled with its default."""
    filled = default_of(bench, node, check)
    if filled is not None:
        value, words, certain = filled
        yield set_input(node, check.name, value, f"It is required but not given; {words}.", certain=certain)


def null(bench: Bench, node: Node, check: InputCheck) -> Proposals:
    """A field that is null, where only the class's own code may refuse that."""
    filled = default_of(bench, node, check)
    if filled is not None:
        yield set_input(node, check.name, filled[0], f"It is null; {filled[1]}.", certain=False)


def refused(bench: Bench, node: Node, check: InputCheck, value: Value, fault: Fault) -> Proposals:
    """A value of the node itself that the server does not take."""
    if fault.type in ("value_smaller_than_min", "value_bigger_than_max"):
        edge = check.low if fault.type.endswith("min") else check.high
        word = "smallest" if fault.type.endswith("min") else "largest"
        edge = int(edge) if check.kind == "INT" and edge is not None else edge
        if edge is not None and fault_of(check, edge) is None:
            words = f"It is out of range; {edge} is the {word} value."
            yield set_input(node, check.name, edge, words, certain=True)
        return
    if fault.type == "value_not_in_list" and isinstance(unwrapped(value), str | int | float):
        yield from _listed(bench, node, check, unwrapped(value))
        return
    yield from _unreadable(bench, node, check, value)


def dynamic_combos(bench: Bench, node: Node, node_type: NodeType) -> Proposals:
    """Choices that decide which inputs a node has: servers accept a wrong or missing one, but the run fails."""
    given = node.inputs or {}
    for item in node_type.inputs if node_type.is_dynamic else ():
        if item.kind != DYNAMIC_COMBO or not item.choices:
            continue
        value = given.get(item.name)
        if item.name not in given and item.required:
            words = f"It is required but not given; {item.choices[0]!r} is the first choice."
            certain = len(item.choices) == 1
            yield set_input(node, item.name, item.choices[0], words, certain=certain)
        elif isinstance(value, str) and value not in item.choices:
            yield from _choices(node, item.name, value, item.choices)


def default_of(bench: Bench, node: Node, check: InputCheck) -> tuple[Value, str, bool] | None:
    """(value, where it comes from, certain) for a field without a usable value; None where nothing is known.

    The first file of a models folder is never taken for the file that is meant, unless it is the only one.
    """
    item = declared(check)
    choices: tuple[Any, ...] = item.choices or ()
    if not item.is_widget:
        return None
    stated = item.options.get("default")
    if isinstance(stated, str | int | float) and (not choices or stated in choices) and fault_of(check, stated) is None:
        return stated, f"{stated!r} is its default", True
    if choices and isinstance(choices[0], str | int | float):
        only = len(choices) == 1
        return choices[0], f"{choices[0]!r} is the {'only' if only else 'first'} choice", only
    low: Any = check.low if word(check) in ("INT", "FLOAT") else None
    plain: Any = _EMPTY.get(word(check)) if low is None else low
    if plain is None or fault_of(check, plain) is not None:
        return None
    return plain, f"it has no default, {plain!r} is taken", False


def _listed(bench: Bench, node: Node, check: InputCheck, value: Any) -> Proposals:
    choices = check.choices or ()
    is_file = bench.types.folder(node.class_type or "", check.name) is not None
    proposals = list(_choices(node, check.name, value, choices, _FILE_LIKENESS if is_file else _LIKENESS))
    filled = None if proposals or is_file else default_of(bench, node, check)
    if filled is not None:
        words = f"{value!r} is not one of its values; {filled[1]}."
        proposals = [set_input(node, check.name, filled[0], words, certain=False)]
    yield from proposals


def _choices(node: Node, name: str, value: Any, choices: Sequence[Any], likeness: float = _LIKENESS) -> Proposals:
    for same, words in _SAMENESS:
        found = [choice for choice in choices if same(str(choice)) == same(str(value))]
        if found:
            if len(found) == 1:
                yield set_input(node, name, found[0], f"There is only {found[0]!r}: {words}.", certain=True)
            break
    near = nearest(value, choices, 1)
    for choice in choices:
        if near and str(choice) == near[0] and _likeness(value, choice) >= likeness:
            yield set_input(node, name, choice, f"{choice!r} is the most like it.", certain=False)
            return


def _unreadable(bench: Bench, node: Node, check: InputCheck, value: Value) -> Proposals:
    number = _whole(unwrapped(value)) if check.kind == "INT" else None
    if number is not None and fault_of(check, number) is None:
        yield set_input(node, check.name, number, f"It is the whole number {number}.", certain=True)
        return
    filled = default_of(bench, node, check)
    if filled is not None:
        words = f"It cannot be read as {word(check)}; {filled[1]}."
        yield set_input(node, check.name, filled[0], words, certain=filled[2])


def _whole(value: object) -> int | None:
    """The number in a text like "20.0", which servers do not read as a whole number."""
    try:
        number = float(value) if isinstance(value, str) else None
        return int(number) if number is not None and number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _likeness(value: object, choice: object) -> float:
    return difflib.SequenceMatcher(None, _base(str(value)), _base(str(choice))).ratio()


def _same(text: str) -> str:
    return text


def _slashes(text: str) -> str:
    return text.replace("\\", "/")


def _case(text: str) -> str:
    return _slashes(text).strip().casefold()


def _base(text: str) -> str:
    return _case(text).rpartition("/")[2]


def _stem(text: str) -> str:
    name = _base(text)
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension in _EXTENSIONS else name


_EXTENSIONS = frozenset({"safetensors", "sft", "ckpt", "pt", "pt2", "pth", "bin", "pkl", "gguf", "png", "jpg", "jpeg"})

_SAMENESS = (
    (_same, "the same as text"),
    (_slashes, "the same with other slashes"),
    (_case, "the same but for capital letters"),
    (_base, "the same name in another folder"),
    (_stem, "the same name with another extension"),
)
"""Ways to be the same name, the strictest first; only one choice that is the same is taken for sure."""
