"""Group nodes, the editor's older way to pack nodes: each instance is unpacked into the nodes it stands for.

An instance has a field for each field of its inner nodes that is not linked inside, an input for each input, and an
output for each output that is not linked inside. Source: the official editor, 1.35 and 1.49.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from comfyops.errors import WorkflowFormatError
from comfyops.workflows.conversion.fields import Field, Growing, Layout
from comfyops.workflows.conversion.links import MAX_NODES
from comfyops.workflows.conversion.live import Layouts, Opened
from comfyops.workflows.ui_format import UiGraph, UiGroupNode, UiLink, UiNode, UiSlot

_PREFIXES = ("workflow>", "workflow/")
_PRIMITIVE = "PrimitiveNode"
_MAX_LEVELS = 5  # of group nodes in group nodes; what is deeper stays packed


def unpack(graph: UiGraph, groups: Mapping[str, UiGroupNode], layouts: Layouts) -> UiGraph:
    """The graph with every instance of a group node replaced by its inner nodes, with ids like "57:0".

    Raises WorkflowFormatError where that gives too many nodes.
    """
    shapes: dict[str, _Shape] = {}
    for _ in range(_MAX_LEVELS if groups else 0):
        instances: dict[str, _Shape] = {}
        nodes: list[UiNode] = []
        links = dict(graph.links)
        for node in graph.nodes:
            shape = _shape_of(node, groups, layouts, shapes)
            if shape is None:
                nodes.append(node)
            else:
                instances[node.id] = shape
                nodes.extend(_inner(node, shape, links))
            if len(nodes) > MAX_NODES:
                raise WorkflowFormatError(f"The workflow expands to more than {MAX_NODES} nodes.")
        if not instances:
            break
        _redirect(links, instances)
        graph = replace(graph, nodes=tuple(nodes), links=links)
    return graph


def _shape_of(
    node: UiNode, groups: Mapping[str, UiGroupNode], layouts: Layouts, shapes: dict[str, _Shape]
) -> _Shape | None:
    """The shape of an instance, worked out once for each group; None for any other node."""
    name = next((node.type.removeprefix(mark) for mark in _PREFIXES if node.type.startswith(mark)), None)
    if name is None or name not in groups or layouts.get(node.type) is not None:
        return None
    if name not in shapes:
        shapes[name] = _Shape(groups[name], layouts)
    return shapes[name]


def _redirect(links: dict[str, UiLink], instances: Mapping[str, _Shape]) -> None:
    """Let links that start at an instance start at the inner node that gives its output."""
    for key, link in links.items():
        shape = instances.get(link.origin)
        if shape is not None and link.origin_slot < len(shape.outputs):
            inner, place = shape.outputs[link.origin_slot]
            links[key] = replace(link, origin=f"{link.origin}:{inner}", origin_slot=place)


@dataclass(slots=True)
class _Shape:
    """What an instance of a group node looks like: its fields, inputs and outputs, and what each stands for inside.

    `fields` are (inner node, inner field or None for a widget that is saved but not sent), in the saved order; `inputs`
    lead from the instance's input names to (inner node, inner input); `outputs` are (inner node, inner output).
    """

    group: UiGroupNode
    layouts: Layouts
    fields: list[tuple[str, str | None]] = field(default_factory=list)
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    outputs: list[tuple[str, int]] = field(default_factory=list)
    bases: dict[str, dict[str, Any]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _nodes: dict[str, UiNode] = field(default_factory=dict)
    _inside: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._nodes = {node.id: node for node in self.group.nodes}
        self._inside = {(link.origin, link.origin_slot) for link in self.group.links}
        linked = {(link.target, self.input_name(link)) for link in self.group.links}
        late: list[tuple[UiNode, list[Field]]] = []
        for node in self.group.nodes:
            found = self.layouts.get(node.type)
            if node.type == _PRIMITIVE:
                self._name(node, "value")
                self.fields += [(node.id, "value"), (node.id, None)]
            elif found is not None:
                late += self._add(node, found[1], linked)
                kinds = [item.kind for item in found[0].outputs]
                self.outputs += [(node.id, at) for at in range(len(kinds)) if self._shown(node.id, at)]
        for node, parts in late:
            if (node.id, parts[0].name) not in linked:
                self._add_fields(node, parts)

    def _add(self, node: UiNode, layout: Layout, linked: set[tuple[str, str]]) -> list[tuple[UiNode, list[Field]]]:
        """Add a node's sockets and fields; gives the fields that have an input slot too, which come after all nodes'.

        The editor sorts those by the number of their slot as if it were a word, so that 10 comes before 4.
        """
        opened = Opened({})
        opened.walk(layout, node.values if isinstance(node.values, Mapping) else iter(node.values or ()))
        self.bases[node.id] = opened.values
        places = {item.widget: str(at) for at, item in enumerate(node.inputs) if item.widget == item.name}
        late = []
        for parts in _with_followers(layout.fields):
            if parts[0].name in places:
                late.append((node, parts))
            else:
                self._add_fields(node, parts)
        hidden = self._hidden(node.id)
        for socket in layout.sockets:
            for name in socket.names if isinstance(socket, Growing) else (socket[0],):
                if (node.id, name) not in linked:
                    shown = self._name(node, name)
                    if name not in hidden:
                        self.inputs[shown] = (node.id, name)
        return sorted(late, key=lambda item: places[item[1][0].name])

    def _add_fields(self, node: UiNode, parts: list[Field]) -> None:
        first = parts[0]
        shown = self._name(node, first.name)
        if first.sent:
            self.inputs[shown] = (node.id, first.name)
        self.fields += [(node.id, item.name if item.sent else None) for item in parts if item.saved]

    def _name(self, node: UiNode, name: str) -> str:
        """The instance's name for an inner input, as the editor makes it unique."""
        config = self.group.config.get(node.id)
        label = next((item.label for item in node.inputs if item.name == name and item.label), None)
        shown = (config.names.get(name) if config is not None else None) or label or name
        key = shown
        if (node.type == _PRIMITIVE and node.title) or shown in self._seen:
            prefix = f"{node.title or node.type} "
            key = shown = f"{prefix}{name}"
            if key in self._seen:
                shown = f"{prefix}{self._seen[key]} {name}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return shown

    def _shown(self, node_id: str, output: int) -> bool:
        config = self.group.config.get(node_id)
        if config is not None and output in config.hidden_outputs:
            return False
        return (node_id, output) not in self._inside or (node_id, output) in self.group.external

    def _hidden(self, node_id: str) -> frozenset[str]:
        config = self.group.config.get(node_id)
        return config.hidden_inputs if config is not None else frozenset()

    def input_name(self, link: UiLink) -> str:
        """The inner input that a link inside ends in, "" where there is none."""
        target = self._nodes.get(link.target)
        if target is None or link.target_slot >= len(target.inputs):
            return ""
        return target.inputs[link.target_slot].name


def _with_followers(fields: Iterable[Field]) -> list[list[Field]]:
    """Each field with the widgets that belong to it, such as "control after generate"."""
    found: list[list[Field]] = []
    for item in fields:
        if item.kind in ("CONTROL", "STRING") and not item.sent and found:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _inner(node: UiNode, shape: _Shape, links: dict[str, UiLink]) -> Iterable[UiNode]:
    """The inner nodes of an instance; `links` are changed so that they end in and start at them."""
    prefix = f"{node.id}:"
    values = _values(node, shape)
    incoming = _incoming(node, shape)
    for number, link in enumerate(shape.group.links):
        key = f"{prefix}{number}"
        links[key] = UiLink(
            key, prefix + link.origin, link.origin_slot, prefix + link.target, link.target_slot, link.kind
        )
        incoming.setdefault(link.target, {})[shape.input_name(link)] = key
    for inner_node in shape.group.nodes:
        given: Any = values.get(inner_node.id, inner_node.values)
        if inner_node.type == _PRIMITIVE and isinstance(given, Mapping):
            given = tuple(given.values())
        ends = incoming.get(inner_node.id, {})
        kept = [replace(item, link=ends.pop(item.name, None)) for item in inner_node.inputs]
        more = [
            UiSlot(name, "*", key, name if name in values.get(inner_node.id, {}) else None)
            for name, key in ends.items()
        ]
        yield replace(
            inner_node,
            id=prefix + inner_node.id,
            mode=node.mode or inner_node.mode,
            inputs=(*kept, *more),
            values=given,
        )


def _values(node: UiNode, shape: _Shape) -> dict[str, dict[str, Any]]:
    """The values of the inner nodes' fields by name: those of the definition, with the instance's over them."""
    found = {key: dict(base) for key, base in shape.bases.items()}
    given = node.values if isinstance(node.values, tuple) else ()
    for (owner, name), value in zip(shape.fields, given, strict=False):
        if name is not None:
            found.setdefault(owner, {})[name] = value
    return found


def _incoming(node: UiNode, shape: _Shape) -> dict[str, dict[str, str]]:
    """The links that the instance's inputs pass on, by inner node and then by its input."""
    found: dict[str, dict[str, str]] = {}
    for item in node.inputs:
        if item.link is not None and item.name in shape.inputs:
            owner, name = shape.inputs[item.name]
            found.setdefault(owner, {})[name] = item.link
    return found
