"""Inputs that depend on the values given: dynamic combos, growing lists of inputs, dynamic slots.

A dynamic combo "format" with the value "mp4" brings the inputs of its option "mp4", named "format.codec" and so on; an
autogrow input "images" stands for "images.image0", "images.image1", ... Source: the behaviour of ComfyUI 0.33.0, and of
0.8.0 where it differs (there an input of an autogrow list that is not given is never required).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.workflows.node_types import (
    AUTOGROW,
    DYNAMIC_SLOT,
    DYNAMIC_TYPES,
    InputType,
    NodeType,
    input_type,
)


def expand(node_type: NodeType, given: Mapping[str, Any], *, modern: bool = True) -> tuple[InputType, ...]:
    """The inputs that the node has for these given values, under their full names.

    As on the server, a dynamic combo without a known value is left out (and not checked).
    """
    found: dict[str, InputType] = {}
    for item in node_type.inputs:
        for name, expanded in _expanded(item.name, item, given, modern):
            found[name] = expanded
    return tuple(found.values())


def _expanded(name: str, item: InputType, given: Mapping[str, Any], modern: bool) -> Iterator[tuple[str, InputType]]:
    if item.kind not in DYNAMIC_TYPES:
        yield name, input_type(name, item.spec, item.required)
    elif item.kind == AUTOGROW:
        yield from _autogrow(name, item, given, modern)
    elif name in given:
        parts = _parts(item, given[name])
        if parts is not None:
            yield from _group(name, parts, given, modern)
            yield name, input_type(name, item.spec, item.required)


def _group(
    prefix: str, groups: Mapping[str, Any], given: Mapping[str, Any], modern: bool
) -> Iterator[tuple[str, InputType]]:
    for group, specs in groups.items():
        for key, spec in specs.items():
            name = f"{prefix}.{key}"
            yield from _expanded(name, input_type(name, spec, group == "required"), given, modern)


def _parts(item: InputType, value: Any) -> Mapping[str, Any] | None:
    if item.kind == DYNAMIC_SLOT:
        return item.options.get("inputs") or {}
    for option in item.options.get("options") or ():
        if option["key"] == value:
            parts: Mapping[str, Any] = option["inputs"]
            return parts
    return None


def _autogrow(prefix: str, item: InputType, given: Mapping[str, Any], modern: bool) -> Iterator[tuple[str, InputType]]:
    spec, template_required = _template(item)
    minimum = item.options["template"].get("min", 1)
    for index, key in enumerate(autogrow_names(item)):
        name = f"{prefix}.{key}"
        required = index < minimum and (template_required or not modern)
        if modern or name in given:
            yield name, input_type(name, spec, required)


def autogrow_names(item: InputType) -> tuple[str, ...]:
    """The names an autogrow input can have, without its own name before them, in order."""
    template = item.options["template"]
    if "names" in template:
        return tuple(template["names"])
    return tuple(f"{template['prefix']}{number}" for number in range(template["max"]))


def _template(item: InputType) -> tuple[Any, bool]:
    for group, specs in item.options["template"]["input"].items():
        for spec in specs.values():
            return spec, group == "required"
    return ["*", {}], False
