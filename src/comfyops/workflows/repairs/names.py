"""Inputs that changed their names: given under one that the class does not have, missing under the one it has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from comfyops.workflows.checks.inputs import InputCheck
from comfyops.workflows.graph import Node
from comfyops.workflows.node_types import AUTOGROW, NodeType
from comfyops.workflows.repairs.bench import Bench, declared, fits
from comfyops.workflows.repairs.proposal import Proposals, rename_input


def renamed(bench: Bench, node: Node, node_type: NodeType, checks: Sequence[InputCheck]) -> Proposals:
    """Renamings that make a value count again which the server would ignore."""
    given = node.inputs or {}
    strangers = bench.undeclared(node, node_type, checks)
    if not strangers:
        return
    absent = [check for check in checks if check.name not in given]
    yield from _grown(node, node_type, strangers, absent)
    for old in strangers:
        yield from _same(bench, node, old, absent)
    required = [check for check in absent if check.required]
    for old in strangers:
        yield from _alike(bench, node, old, strangers, required)


def _same(bench: Bench, node: Node, old: str, absent: Iterable[InputCheck]) -> Proposals:
    """The same name but for capitals, dashes, and the input of a choice that it belongs to."""
    value = (node.inputs or {})[old]
    found = [check for check in absent if _bare(old) in (_bare(check.name), _bare(check.name.rpartition(".")[2]))]
    if len(found) == 1 and fits(bench, found[0], value):
        words = f"The class calls it {found[0].name!r}; under the name {old!r} it would be ignored."
        yield rename_input(node, old, found[0].name, words, certain=True)


def _alike(bench: Bench, node: Node, old: str, strangers: list[str], required: list[InputCheck]) -> Proposals:
    """The most alike of the missing names, or the only one for the only stranger."""
    value = (node.inputs or {})[old]
    fitting = {check.name: check for check in required if fits(bench, check, value)}
    near = difflib.get_close_matches(old, fitting, n=1, cutoff=0.6)
    if near:
        words = f"The class has no {old!r}; of what is missing, {near[0]!r} is the most like it."
        yield rename_input(node, old, near[0], words, certain=False)
    elif len(fitting) == len(required) == len(strangers) == 1 and not declared(required[0]).is_widget:
        words = f"The class has no {old!r}, and only {required[0].name!r} is missing, which it fits."
        yield rename_input(node, old, required[0].name, words, certain=False)


def _grown(node: Node, node_type: NodeType, strangers: list[str], absent: Iterable[InputCheck]) -> Proposals:
    """A growing list whose first item is called otherwise: `image1` where it begins with `images.image0`."""
    needed = {check.name for check in absent if check.required}
    for item in node_type.inputs:
        first = next((name for name in needed if name.startswith(f"{item.name}.")), None)
        if item.kind != AUTOGROW or first is None:
            continue
        stem = first.rpartition(".")[2].rstrip("0123456789")
        old = next((name for name in strangers if name.rpartition(".")[2].rstrip("0123456789") == stem), None)
        if old is not None:
            words = f"The list {item.name!r} begins with {first!r}; {old!r} would be ignored."
            yield rename_input(node, old, first, words, certain=False)


def _bare(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())
