"""Following links to the node that really gives a value: through subgraphs, bypassed nodes and reroutes.

Each instance of a subgraph is a frame; the way through the frames is walked step by step, never by recursion, and a way
that comes back to where it was ends with a warning. Source: the official editor, 1.49 and 1.58.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comfyops.errors import WorkflowFormatError
from comfyops.workflows.conversion.live import MISSING, NOTES, PASSING, Live, LiveGraph, Slot
from comfyops.workflows.graph import Link
from comfyops.workflows.ui_format import BYPASS, NEVER, SUBGRAPH_INPUT, SUBGRAPH_OUTPUT

MAX_NODES = 200_000
"""Most nodes that a workflow may have once its subgraphs are expanded."""

MAX_STEPS = 3_000_000
"""Most steps on the ways of all links together; real workflows need a few per link."""

SETTERS = frozenset({"SetNode", "easy setNode"})
GETTERS = frozenset({"GetNode", "easy getNode"})
"""Nodes of custom packs that give a value a name, and take it by its name."""

VIRTUAL = NOTES | PASSING | SETTERS | GETTERS | {"PrimitiveNode"}
"""Nodes that only the editor knows (unless the server has a class of the name)."""

Warn = Callable[[str, str, str, str], None]
"""Takes a warning: node id, input name, code, sentence."""


class Given(NamedTuple):
    """A value that a subgraph's instance gives to an inner input, in place of a link."""

    value: Any


@dataclass(slots=True)
class Frame:
    """One instance of a subgraph, or the workflow itself: `prefix` is put before the ids of its nodes."""

    graph: LiveGraph
    prefix: str
    host: Live | None = None
    parent: Frame | None = None
    children: dict[str, Frame] = field(default_factory=dict)

    def walk(self) -> Iterator[tuple[Frame, Live]]:
        """Every node of this frame and those inside it, with its frame."""
        pending: list[Iterator[tuple[Frame, Live]]] = [self._own()]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            frame, node = found
            if node.hosts is None:
                yield found
            elif node.id in frame.children:
                pending.append(frame.children[node.id]._own())

    def _own(self) -> Iterator[tuple[Frame, Live]]:
        return ((self, node) for node in self.graph.nodes.values())


def frames(root: LiveGraph, graphs: dict[str, LiveGraph]) -> Frame:
    """The frames of a workflow. Instances that are muted or bypassed in the workflow itself get none.

    Raises WorkflowFormatError where expanding the subgraphs gives too many nodes.
    """
    top = Frame(root, "")
    pending, count = [top], len(root.nodes)
    while pending:
        frame = pending.pop()
        for node in frame.graph.nodes.values():
            if node.hosts is None or (frame is top and node.is_off):
                continue
            child = Frame(graphs[node.hosts], f"{frame.prefix}{node.id}:", node, frame)
            frame.children[node.id] = child
            pending.append(child)
            count += len(child.graph.nodes)
            if count > MAX_NODES:
                raise WorkflowFormatError(f"The workflow expands to more than {MAX_NODES} nodes.")
    return top


def is_virtual(node: Live) -> bool:
    """Whether only the editor knows the node."""
    return node.known is None and node.hosts is None and node.type in VIRTUAL


class Step(NamedTuple):
    """A place on the way: an input of a node, or (with `kind`, the type that is asked for) an output."""

    frame: Frame
    node: Live
    slot: Slot | None
    output: int = 0
    kind: str = ""


class Resolver:
    """Finds what an input really gets."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._setters: dict[int, dict[str, Live]] = {}
        self._steps = 0

    def resolve(self, frame: Frame, node: Live, slot: Slot) -> Link | Given | None:
        """The link for the server, the value that an instance gives, or None where nothing is connected.

        Raises WorkflowFormatError where the links of the workflow lead through too many nodes.
        """
        step: Step | Link | Given | None = Step(frame, node, slot)
        seen: set[tuple[int, str, int]] = set()
        while isinstance(step, Step):
            mark = (id(step.frame), step.node.id, -1 - step.output if step.slot is None else id(step.slot))
            if mark in seen:
                self._warn(frame.prefix + node.id, slot.name, "link_cycle", "Its link leads back to itself.")
                return None
            seen.add(mark)
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise WorkflowFormatError("The links of the workflow lead through too many reroutes and subgraphs.")
            step = self._from_input(step) if step.slot is not None else self._from_output(step)
        return step

    def _from_input(self, step: Step) -> Step | Given | None:
        frame, node, slot = step.frame, step.node, step.slot
        if slot is None or slot.link is None:
            return None
        link = frame.graph.links.get(slot.link)
        if link is None:
            self._lost(frame, node, slot)
            return None
        if link.origin == SUBGRAPH_INPUT and frame.parent is not None and frame.host is not None:
            return self._out_of(frame, frame.parent, frame.host, link.origin_slot, step.kind)
        origin = frame.graph.nodes.get(link.origin)
        if origin is None:
            self._lost(frame, node, slot)
            return None
        return Step(frame, origin, None, link.origin_slot, step.kind or slot.kind)

    def _out_of(self, frame: Frame, parent: Frame, host: Live, place: int, kind: str) -> Step | Given | None:
        if place >= len(host.slots):
            return None
        outer = host.slots[place]
        if outer.link is not None:
            return Step(parent, host, outer, kind=kind)
        value = host.values.get(outer.name, MISSING)
        return None if value is MISSING else Given(value)

    def _lost(self, frame: Frame, node: Live, slot: Slot) -> None:
        self._warn(frame.prefix + node.id, slot.name, "link_lost", "Its link comes from nowhere; it is left out.")

    def _from_output(self, step: Step) -> Step | Link | None:
        frame, node, place = step.frame, step.node, step.output
        if node.mode == NEVER:
            return None
        if node.mode == BYPASS:
            slot = passed_through(node, place, step.kind)
            return None if slot is None else Step(frame, node, slot)
        if node.hosts is not None:
            return self._into(frame, node, place, step.kind)
        if is_virtual(node):
            return self._through(frame, node, step.kind)
        return Link(frame.prefix + node.id, place)

    def _into(self, frame: Frame, host: Live, place: int, kind: str) -> Step | None:
        child = frame.children.get(host.id)
        if child is None or place >= len(child.graph.outputs):
            return None
        for key in child.graph.outputs[place].links:
            link = child.graph.links.get(key)
            if link is None or link.target != SUBGRAPH_OUTPUT:
                continue
            if link.origin == SUBGRAPH_INPUT:
                outer = host.slots[link.origin_slot] if link.origin_slot < len(host.slots) else None
                return None if outer is None else Step(frame, host, outer, kind=kind)
            origin = child.graph.nodes.get(link.origin)
            return None if origin is None else Step(child, origin, None, link.origin_slot, kind)
        return None

    def _through(self, frame: Frame, node: Live, kind: str) -> Step | None:
        if node.type in GETTERS:
            setter = self._setter(frame, node)
            if setter is None:
                self._warn(frame.prefix + node.id, "", "no_setter", "No Set node gives the value that it gets.")
                return None
            place, node = setter
            return Step(place, node, node.slots[0], kind=kind) if node.slots else None
        if node.type in PASSING | SETTERS and node.slots:
            return Step(frame, node, node.slots[0], kind=kind)
        return None

    def _setter(self, frame: Frame, getter: Live) -> tuple[Frame, Live] | None:
        """The Set node of the getter's name, in its own graph or one around it."""
        name, place = _variable(getter), frame
        while True:
            found = self._setters.get(id(place.graph))
            if found is None:
                nodes = place.graph.nodes.values()
                found = {_variable(node): node for node in nodes if node.type in SETTERS and node.known is None}
                self._setters[id(place.graph)] = found
            if name in found:
                return place, found[name]
            if place.parent is None:
                return None
            place = place.parent


def _variable(node: Live) -> str:
    values = node.source.values
    value = values[0] if isinstance(values, tuple) and values else None
    return value if isinstance(value, str) else ""


def passed_through(node: Live, output: int, wanted: str) -> Slot | None:
    """The input that a bypassed node gives in place of this output, None where no input fits."""
    slots = node.slots
    given = node.outputs[output] if output < len(node.outputs) else "*"
    if wanted in ("*", ""):
        return (slots[output] if len(slots) > output else slots[0]) if slots else None
    opposite = slots[output] if output < len(slots) else None
    if opposite is not None and fits(opposite.kind, given) and fits(opposite.kind, wanted):
        return opposite
    exact = next((slot for slot in slots if slot.kind == wanted), None)
    if exact is not None:
        return exact
    return next((slot for slot in slots if fits(slot.kind, given) and fits(slot.kind, wanted)), None)


def fits(one: str, other: str) -> bool:
    """Whether slots of these types may be linked; a type may be a list of types with commas."""
    if one in ("", "*", "0") or other in ("", "*", "0") or one == other:
        return True
    first, second = one.lower().split(","), other.lower().split(",")
    return any(kind in ("", "*") or kind in second for kind in first) or "*" in second
