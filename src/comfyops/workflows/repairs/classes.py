"""Node classes that a server does not have, that are deprecated, or that are not named at all."""

from __future__ import annotations

from collections.abc import Iterator

from comfyops.workflows.checks.inputs import types_match
from comfyops.workflows.graph import Link, Node, Value
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import AUTOGROW, DYNAMIC_TYPES, NodeType
from comfyops.workflows.repairs.bench import ANYTHING, Bench, fits
from comfyops.workflows.repairs.proposal import Change, Kind, Proposal, Proposals, change_class, with_inputs
from comfyops.workflows.replacements import REPLACEMENTS, Replacement

SAME_INPUTS = {"ControlNetApplySD3": "ControlNetApplyAdvanced"}
"""Deprecated classes that a class with the same inputs and outputs took the place of."""


def unknown(bench: Bench, node: Node) -> Proposals:
    """A class for a node whose own the server does not have."""
    name, given = node.class_type, dict(node.inputs or {})
    new = REPLACEMENTS.get(name or "")
    if name is not None and new is not None and new.class_type in bench.types:
        words = f"The server has no class {name!r} any more; ComfyUI replaced it by {new.class_type!r}."
        yield change_class(node, new.class_type, _moved(given, new), words, certain=True)
        return
    same = [known for known in bench.types if name is not None and known.strip().casefold() == name.strip().casefold()]
    if len(same) == 1:
        words = f"The server calls the class {same[0]!r}."
        yield change_class(node, same[0], given, words, certain=True)
        return
    fitting = list(_fitting(bench, node)) if given else []
    titled = [found for found in fitting if node.title and node.title in (found.display_name, found.name)]
    alike = [found for found in fitting if name is not None and found.name in nearest(name, bench.types)]
    for found in (titled, alike, fitting):
        if len(found) == 1:
            what = "There is no class" if name is None else f"The server has no class {name!r}"
            words = f"{what}; of all classes, the inputs and outputs are those of {found[0].name!r}."
            yield change_class(node, found[0].name, given, words, certain=False)
            return


def deprecated(bench: Bench, node: Node, node_type: NodeType) -> Proposals:
    """The successor of a deprecated class, where it is known exactly."""
    if not node_type.deprecated:
        return
    given, name = dict(node.inputs or {}), node_type.name
    new = REPLACEMENTS.get(name)
    if new and new.inputs and new.class_type in bench.types and all(old in given for old in new.inputs.values()):
        words = f"{name!r} is deprecated; ComfyUI names {new.class_type!r} as its successor."
        yield change_class(node, new.class_type, _moved(given, new), words, certain=True)
    elif SAME_INPUTS.get(name) in bench.types:
        words = f"{name!r} is deprecated; {SAME_INPUTS[name]!r} takes and gives the same."
        yield change_class(node, SAME_INPUTS[name], given, words, certain=True)
    elif name == "ControlNetApply" and "ControlNetApplyAdvanced" in bench.types:
        yield from _control_net(bench, node)


def _moved(given: dict[str, Value], new: Replacement) -> dict[str, Value]:
    """The inputs under their new names; a replacement that names none keeps them all."""
    if not new.inputs:
        return {**given, **new.values}
    return {name: given[old] for name, old in new.inputs.items() if old in given} | dict(new.values)


def _control_net(bench: Bench, node: Node) -> Proposals:
    """The older class controls the negative side on its own; its successor wants to be told of it."""
    given = dict(node.inputs or {})
    takers = bench.takers(node.id)
    negatives = {(taker.inputs or {}).get("negative") for taker, _, _ in takers}
    if any((name, slot) != ("positive", 0) for _, name, slot in takers) or len(negatives) != 1:
        return
    (negative,) = negatives
    if type(negative) is not Link or "conditioning" not in given or negative.node in bench.downstream(node.id):
        return
    inputs = {"positive": given.pop("conditioning"), "negative": negative, **given}
    words = "'ControlNetApply' is deprecated; 'ControlNetApplyAdvanced' does the same, with both sides said."
    new = change_class(
        node, "ControlNetApplyAdvanced", {**inputs, "start_percent": 0.0, "end_percent": 1.0}, words, certain=False
    )
    wires, after = [], []
    for taker, _, _ in takers:
        link = Link(node.id, 1)
        why = f"It takes the negative side from node {node.id} too."
        wires.append(Change(taker.id, "negative", Kind.SET, list(negative), list(link), why, False))
        after.append(with_inputs(taker, {**(taker.inputs or {}), "negative": link}))
    yield Proposal((*new.changes, *wires), (*new.nodes, *after))


def _fitting(bench: Bench, node: Node) -> Iterator[NodeType]:
    """Classes that have all inputs given, need no others, and give what is taken from the node."""
    given = set(node.inputs or {})
    takers = bench.takers(node.id)
    for class_type in bench.types:
        found = bench.types[class_type]
        if _takes(found, given) and _values_fit(bench, node, found) and _gives(bench, found, takers):
            yield found


def _takes(found: NodeType, given: set[str]) -> bool:
    declared = {item.name for item in found.inputs}
    growing = tuple(f"{item.name}." for item in found.inputs if item.kind in DYNAMIC_TYPES)
    needed = {item.name for item in found.inputs if item.required and item.kind != AUTOGROW}
    return needed <= given and all(name in declared or name.startswith(growing or (" ",)) for name in given)


def _values_fit(bench: Bench, node: Node, found: NodeType) -> bool:
    given = node.inputs or {}
    checks = {check.name: check for check in bench.checks(node, found)}
    return all(
        name not in checks
        or fits(bench, checks[name], value)
        or (type(value) is Link and bench.kind_of(value) in (None, *ANYTHING))
        for name, value in given.items()
        if type(value) is Link
    )


def _gives(bench: Bench, found: NodeType, takers: list[tuple[Node, str, int]]) -> bool:
    for taker, name, slot in takers:
        if slot >= len(found.outputs):
            return False
        taker_type = bench.type_of(taker)
        for check in bench.checks(taker, taker_type) if taker_type else ():
            if check.name == name and not types_match(found.outputs[slot].kind, check.kind):
                return False
    return bool(takers) or found.is_output
