"""Live nodes: the editor's nodes while a workflow is converted, with input slots, values and links.

They are made once for each graph and subgraph definition (all instances of a subgraph share its inner nodes, as in the
editor), changed by the steps of the conversion, and read when the graph for the server is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyops.errors import NodeFactsError
from comfyops.workflows.conversion.fields import CONTROL_VALUES, VIEW, Field, Growing, Layout, layout_of
from comfyops.workflows.node_types import NodeType, NodeTypes
from comfyops.workflows.ui_format import BYPASS, NEVER, UiGraph, UiLink, UiNode, UiPort, UiSlot

NOTES = frozenset(
    {"Note", "MarkdownNote"}
    | {
        f"{name} (rgthree)"
        for name in (
            "Label", "Bookmark", "Fast Muter", "Fast Bypasser", "Fast Groups Muter", "Fast Groups Bypasser",
            "Fast Actions Button", "Node Collector", "Mute / Bypass Relay", "Mute / Bypass Repeater", "Random Unmuter",
        )
    }
)  # fmt: skip
"""Nodes that only help the person in front of the editor."""

PASSING = frozenset({"Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss"})
"""Nodes that hand on their only input."""

MISSING = object()
"""The value of a promoted widget that has none of its own."""


@dataclass(slots=True)
class Slot:
    """An input slot: `widget` tells whether the node has a field of the same name that a link would replace."""

    name: str
    kind: str
    link: str | None
    widget: bool = False


@dataclass(slots=True)
class Live:
    """A node during the conversion. `known` is its type (None = unknown to the server); `hosts` the subgraph it shows.

    `values` are the fields to send, in order; a host's are its promoted widgets. `firsts` are the first choices of
    combos, `prompts` the names of texts with dynamic prompts, `views` those of 3D views,
    `matched` the inputs whose type follows their links (see `fields.Layout`).
    """

    id: str
    type: str
    title: str
    mode: int
    slots: list[Slot]
    outputs: tuple[str, ...]
    values: dict[str, Any]
    source: UiNode
    known: NodeType | None = None
    hosts: str | None = None
    firsts: dict[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    matched: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    _ends: dict[str, Slot] | None = None

    @property
    def is_off(self) -> bool:
        """Whether the node itself does not run."""
        return self.mode in (NEVER, BYPASS)

    def slot(self, name: str) -> Slot | None:
        """The input slot of this name."""
        return next((item for item in self.slots if item.name == name), None)

    def slot_of_link(self, link: str) -> Slot | None:
        """The input slot that this link ends in, the first of several."""
        if self._ends is None:
            self._ends = {item.link: item for item in reversed(self.slots) if item.link is not None}
        return self._ends.get(link)

    def relink(self, slot: Slot, link: str) -> None:
        """Let another link end in a slot."""
        self.slot_of_link(link)
        if self._ends is not None:
            self._ends.pop(slot.link or "", None)
            self._ends[link] = slot
        slot.link = link


@dataclass(slots=True)
class Port:
    """An input of a subgraph and the links inside that start at it."""

    name: str
    kind: str
    links: list[str]


@dataclass(slots=True)
class LiveGraph:
    """The live nodes and links of the workflow or of one subgraph; ports are those of a subgraph."""

    nodes: dict[str, Live]
    links: dict[str, UiLink]
    name: str = ""
    inputs: list[Port] = field(default_factory=list)
    outputs: tuple[UiPort, ...] = ()


class Layouts:
    """Layouts by class name, worked out when first asked for."""

    def __init__(self, types: NodeTypes) -> None:
        self._types = types
        self._known: dict[str, tuple[NodeType, Layout] | None] = {}

    def get(self, name: str) -> tuple[NodeType, Layout] | None:
        """The node type of this name and its layout, None where the server has no such class.

        Raises NodeFactsError where what is said of the class cannot be used.
        """
        try:
            return self._known[name]
        except KeyError:
            found = None
            if name in self._types:
                try:
                    node_type = self._types[name]
                    found = node_type, layout_of(node_type)
                except (AttributeError, IndexError, KeyError, TypeError) as error:
                    raise NodeFactsError(f"The node facts describe the class {name!r} in an odd way.") from error
            self._known[name] = found
            return found


def build(graph: UiGraph, subgraphs: Mapping[str, LiveGraph], layouts: Layouts) -> LiveGraph:
    """The live form of a graph; nodes whose type is in `subgraphs` are hosts."""
    return LiveGraph({node.id: _live(node, subgraphs, layouts) for node in graph.nodes}, dict(graph.links))


def _live(node: UiNode, subgraphs: Mapping[str, LiveGraph], layouts: Layouts) -> Live:
    if node.type in subgraphs:
        return _host(node, subgraphs[node.type])
    found = layouts.get(node.type)
    if found is None:
        return _unknown(node)
    return _known(node, *found)


def _host(node: UiNode, subgraph: LiveGraph) -> Live:
    saved = {item.name: item for item in node.inputs}
    slots = [
        Slot(port.name, port.kind, saved[port.name].link if port.name in saved else None) for port in subgraph.inputs
    ]
    outputs = tuple(port.kind for port in subgraph.outputs)
    title = node.title or subgraph.name
    return Live(node.id, node.type, title, node.mode, slots, outputs, {}, node, hosts=node.type)


def _known(node: UiNode, node_type: NodeType, layout: Layout) -> Live:
    saved = {item.name: item for item in node.inputs}
    opened = Opened(saved)
    opened.walk(layout, _given(node, layout))
    extra = [item for item in node.inputs if item.name not in opened.names and _survives(item, opened, layout)]
    slots = opened.slots + [Slot(item.name, item.kind, item.link, bool(item.widget)) for item in extra]
    outputs = tuple(item.kind for item in node_type.outputs) + tuple(
        item.kind for item in node.outputs[len(node_type.outputs) :]
    )
    title = node.title or node_type.display_name
    return Live(
        node.id, node.type, title, node.mode, slots, outputs, opened.values, node, node_type,
        firsts=opened.firsts, prompts=tuple(opened.prompts), views=tuple(opened.views), matched=layout.matched,
    )  # fmt: skip


def _survives(item: UiSlot, opened: Opened, layout: Layout) -> bool:
    """Whether a saved input that the type does not declare is kept: not those of fields or choices that are gone."""
    if item.widget is not None and item.widget not in opened.values:
        return False
    return not any(item.name.startswith(f"{combo.name}.") for combo in layout.fields if combo.choices is not None)


def _given(node: UiNode, layout: Layout) -> Mapping[str, Any] | Iterator[Any]:
    """The saved values: by name where they were saved so, else one after the other."""
    if isinstance(node.values, Mapping):
        return node.values
    values = node.values or ()
    if layout.legacy and len(layout.legacy) == len(values):
        values = tuple(value for value, dummy in zip(values, layout.legacy, strict=True) if not dummy)
    return iter(values)


class Opened:
    """A layout opened up with a node's saved values: its slots in order and the values to send."""

    def __init__(self, saved: Mapping[str, UiSlot]) -> None:
        self._saved = saved
        self.slots: list[Slot] = []
        self.names: set[str] = set()
        self.values: dict[str, Any] = {}
        self.firsts: dict[str, Any] = {}
        self.prompts: list[str] = []
        self.views: list[str] = []

    def walk(self, layout: Layout, given: Mapping[str, Any] | Iterator[Any]) -> None:
        """Add what the layout brings, taking saved values as its fields come."""
        for socket in layout.sockets:
            if isinstance(socket, Growing):
                self._grow(socket)
            else:
                self._add(*socket, widget=False)
        for item in layout.fields:
            value = self._take(item, given)
            if item.sent:
                self._set(item, value)
            if item.choices is not None and isinstance(value, str) and value in item.choices:
                self.walk(item.choices[value], given)

    def _take(self, item: Field, given: Mapping[str, Any] | Iterator[Any]) -> Any:
        if not item.saved:
            return item.default
        if isinstance(given, Mapping):
            return given.get(item.name, item.default) if item.sent else item.default
        return next(given, item.default)

    def _set(self, item: Field, value: Any) -> None:
        self.values[item.name] = "" if value is None and item.multiline else value
        if item.first is not None:
            self.firsts[item.name] = item.first
        if item.dynamic_prompt:
            self.prompts.append(item.name)
        if item.kind == VIEW:
            self.views.append(item.name)
        if item.socket is not None:
            self._add(item.name, item.socket, widget=True)

    def _add(self, name: str, kind: str, *, widget: bool) -> None:
        saved = self._saved.get(name)
        self.slots.append(Slot(name, kind, saved.link if saved is not None else None, widget))
        self.names.add(name)

    def _grow(self, growing: Growing) -> None:
        linked = [at for at, name in enumerate(growing.names) if name in self._saved and self._saved[name].link]
        count = max(1, growing.minimum + 1, linked[-1] + 2 if linked else 0)
        for name in growing.names[:count]:
            self._add(name, growing.kind, widget=False)


def _unknown(node: UiNode) -> Live:
    """A node of a class that the server does not have: its fields are guessed from the slots it was saved with."""
    slots = [Slot(item.name, item.kind, item.link, item.widget is not None) for item in node.inputs]
    outputs = tuple(item.kind for item in node.outputs)
    title = node.title or node.type
    return Live(node.id, node.type, title, node.mode, slots, outputs, _guessed(node), node)


def _guessed(node: UiNode) -> dict[str, Any]:
    if isinstance(node.values, Mapping):
        return dict(node.values)
    named = {name: value for name, value in node.named.items() if value not in CONTROL_VALUES or "control" not in name}
    if named or node.values is None:
        return named
    names = [item.widget for item in node.inputs if item.widget is not None]
    values = list(node.values)
    if len(values) > len(names):
        values = [value for at, value in enumerate(values) if not _is_control(values, at)]
    return dict(zip(names, values, strict=False))


def _is_control(values: list[Any], at: int) -> bool:
    """Whether this saved value says how the number before it changes from run to run."""
    before = values[at - 1] if at else None
    return values[at] in CONTROL_VALUES and isinstance(before, int | float) and not isinstance(before, bool)
