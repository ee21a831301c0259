"""ComfyUI's UI format: the JSON that the editor saves, parsed into frozen values.

Source: workflows saved by the official editor, versions 0.4 (links as arrays) and 1 (links as objects) of its format;
https://docs.comfy.org/specs/workflow_json describes both. Damage is kept where it means something (a link to nothing)
and left out where it does not (a node that is no object); `Conversion` warns of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from comfyops.errors import WorkflowFormatError
from comfyops.workflows import api_format

ALWAYS, NEVER, BYPASS = 0, 2, 4
"""Modes of a node: it runs, it is muted, its inputs are passed through."""

SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = "-10", "-20"
"""Ids that links inside a subgraph use for its inputs and its outputs."""

Values: TypeAlias = tuple[Any, ...] | Mapping[str, Any]
"""What a node saved of its widgets: values in their order, or (some custom nodes) by name."""


@dataclass(frozen=True, slots=True)
class UiSlot:
    """One input or output of a node: `link` is the id of an input's link, `widget` the field that it replaces."""

    name: str
    kind: str
    link: str | None = None
    widget: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class UiNode:
    """One node as it was saved; `named` holds widget values by name where the editor saved them that way too."""

    id: str
    type: str
    title: str
    mode: int
    inputs: tuple[UiSlot, ...]
    outputs: tuple[UiSlot, ...]
    values: Values | None
    named: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UiLink:
    """A link from an output to an input, both counted from 0."""

    id: str
    origin: str
    origin_slot: int
    target: str
    target_slot: int
    kind: str


@dataclass(frozen=True, slots=True)
class UiPort:
    """One input or output of a subgraph, and the links inside that are attached to it, in order."""

    name: str
    kind: str
    links: tuple[str, ...]
    label: str | None = None


@dataclass(frozen=True, slots=True)
class UiGraph:
    """Nodes and links of the workflow itself or of one subgraph; `oddities` are sentences on what was left out."""

    nodes: tuple[UiNode, ...]
    links: Mapping[str, UiLink]
    oddities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UiSubgraph:
    """The definition of a subgraph, which nodes of type `id` are instances of."""

    id: str
    name: str
    graph: UiGraph
    inputs: tuple[UiPort, ...]
    outputs: tuple[UiPort, ...]


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """How a group node shows one of its inner nodes: new names of inputs, and which inputs and outputs are hidden."""

    names: Mapping[str, str]
    hidden_inputs: frozenset[str]
    hidden_outputs: frozenset[int]


@dataclass(frozen=True, slots=True)
class UiGroupNode:
    """The definition of a group node (the editor's older way to pack nodes); inner nodes have their index as id.

    `external` are the inner outputs that were linked to the outside when the group was made.
    """

    name: str
    nodes: tuple[UiNode, ...]
    links: tuple[UiLink, ...]
    external: frozenset[tuple[str, int]]
    config: Mapping[str, GroupConfig]


@dataclass(frozen=True, slots=True)
class UiWorkflow:
    """A whole workflow: its own graph, the subgraphs by id and the group nodes by name."""

    graph: UiGraph
    subgraphs: Mapping[str, UiSubgraph]
    group_nodes: Mapping[str, UiGroupNode]


def loads(text: str | bytes, where: str = "The text") -> UiWorkflow:
    """The workflow in a JSON text; `where` names it in errors.

    Raises NotJsonError and WorkflowFormatError.
    """
    return parse(api_format.load_json(text, where), where)


def parse(data: object, where: str = "The workflow") -> UiWorkflow:
    """The workflow in parsed JSON.

    Raises WorkflowFormatError where it is something else.
    """
    if not isinstance(data, dict) or not api_format.is_ui_format(data):
        raise WorkflowFormatError(f"{where} is not a workflow in UI format: it has no list of nodes.")
    subgraphs: dict[str, UiSubgraph] = {}
    _collect(data, subgraphs, where)
    groups = _mapping(_mapping(data.get("extra")).get("groupNodes"))
    group_nodes = {str(name): _group_node(str(name), raw) for name, raw in groups.items()}
    return UiWorkflow(_graph(data), MappingProxyType(subgraphs), MappingProxyType(group_nodes))


def _collect(data: Mapping[str, Any], found: dict[str, UiSubgraph], where: str) -> None:
    """Every definition, those inside of definitions too."""
    pending = [data]
    while pending:
        for raw in _dicts(_mapping(pending.pop().get("definitions")).get("subgraphs")):
            key = str(raw.get("id"))
            if key not in found:
                found[key] = _subgraph(key, raw)
                pending.append(raw)
            if len(found) > 10_000:
                raise WorkflowFormatError(f"{where} defines more than 10000 subgraphs.")


def _subgraph(key: str, raw: Mapping[str, Any]) -> UiSubgraph:
    return UiSubgraph(
        key,
        _text(raw.get("name")) or key,
        _graph(raw),
        tuple(_port(item) for item in _dicts(raw.get("inputs"))),
        tuple(_port(item) for item in _dicts(raw.get("outputs"))),
    )


def _port(raw: Mapping[str, Any]) -> UiPort:
    links = tuple(str(item) for item in _list(raw.get("linkIds")))
    return UiPort(_text(raw.get("name")), _kind(raw.get("type")), links, raw.get("label") or None)


def _graph(raw: Mapping[str, Any]) -> UiGraph:
    oddities: list[str] = []
    nodes: dict[str, UiNode] = {}
    for item in _list(raw.get("nodes")):
        if not isinstance(item, dict) or isinstance(item.get("id"), dict | list | None):
            oddities.append("An entry of the list of nodes is no node; it is left out.")
            continue
        node = _node(item)
        if node.id in nodes:
            oddities.append(f"Two nodes have the id {node.id}; the second is left out.")
        else:
            nodes[node.id] = node
    links: dict[str, UiLink] = {}
    for item in _list(raw.get("links")):
        link = _link(item)
        if link is None:
            oddities.append("An entry of the list of links is no link; it is left out.")
        else:
            links[link.id] = link
    return UiGraph(tuple(nodes.values()), links, tuple(oddities))


def _node(raw: Mapping[str, Any], node_id: str | None = None) -> UiNode:
    values = raw.get("widgets_values")
    mode = raw.get("mode")
    return UiNode(
        str(raw.get("id")) if node_id is None else node_id,
        _text(raw.get("type")),
        _text(raw.get("title")),
        mode if isinstance(mode, int) else ALWAYS,
        tuple(_slot(item) for item in _dicts(raw.get("inputs"))),
        tuple(_slot(item) for item in _dicts(raw.get("outputs"))),
        tuple(values) if isinstance(values, list) else values if isinstance(values, dict) else None,
        _mapping(raw.get("widgets_values_named")),
        _mapping(raw.get("properties")),
    )


def _slot(raw: Mapping[str, Any]) -> UiSlot:
    link, widget = raw.get("link"), raw.get("widget")
    return UiSlot(
        _text(raw.get("name")),
        _kind(raw.get("type")),
        None if link is None else str(link),
        _text(widget.get("name")) if isinstance(widget, dict) else None,
        raw.get("label") if isinstance(raw.get("label"), str) else None,
    )


def _link(raw: Any) -> UiLink | None:
    if isinstance(raw, list) and len(raw) >= 5:
        key, origin, origin_slot, target, target_slot = raw[:5]
        kind = raw[5] if len(raw) > 5 else "*"
    elif isinstance(raw, dict) and "id" in raw:
        key, kind = raw["id"], raw.get("type")
        origin, origin_slot = raw.get("origin_id"), raw.get("origin_slot")
        target, target_slot = raw.get("target_id"), raw.get("target_slot")
    else:
        return None
    from_slot, to_slot = _index(origin_slot), _index(target_slot)
    if from_slot is None or to_slot is None:
        return None
    return UiLink(str(key), str(origin), from_slot, str(target), to_slot, _kind(kind))


def _group_node(name: str, raw: Any) -> UiGroupNode:
    data = _mapping(raw)
    nodes = tuple(_node(item, str(index)) for index, item in enumerate(_dicts(data.get("nodes"))))
    raw_links = [item for item in _list(data.get("links")) if isinstance(item, list) and None not in item[:4]]
    links = (_link([str(number), *item]) for number, item in enumerate(raw_links))
    external = (item for item in _list(data.get("external")) if isinstance(item, list) and len(item) >= 2)
    config = {str(key): _group_config(_mapping(item)) for key, item in _mapping(data.get("config")).items()}
    return UiGroupNode(
        name,
        nodes,
        tuple(link for link in links if link is not None),
        frozenset((str(item[0]), _index(item[1]) or 0) for item in external),
        config,
    )


def _group_config(raw: Mapping[str, Any]) -> GroupConfig:
    inputs = {str(key): _mapping(item) for key, item in _mapping(raw.get("input")).items()}
    outputs = {_index(key): _mapping(item) for key, item in _mapping(raw.get("output")).items()}
    return GroupConfig(
        {key: item["name"] for key, item in inputs.items() if isinstance(item.get("name"), str)},
        frozenset(key for key, item in inputs.items() if item.get("visible") is False),
        frozenset(key for key, item in outputs.items() if key is not None and item.get("visible") is False),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _kind(value: Any) -> str:
    """A slot's type word; the editor also writes lists of choices, and 0 or -1 for any type and for events."""
    if isinstance(value, str):
        return value
    return "COMBO" if isinstance(value, list) else "*"


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and value >= 0 else None
