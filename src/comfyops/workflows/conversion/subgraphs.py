"""Subgraphs: their live forms, innermost first, and the widgets that instances show of their inner nodes.

An instance (a host) has a value of its own for each subgraph input that ends in a widget inside. Older editors kept
such widgets in a list of `proxyWidgets`, pairs of inner node and widget; those become inputs of the subgraph here, as
the editor does on loading. Source: the official editor, 1.49 and 1.58.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfyops.errors import WorkflowFormatError
from comfyops.workflows.conversion.live import MISSING, Layouts, Live, LiveGraph, Port, Slot, build
from comfyops.workflows.ui_format import SUBGRAPH_INPUT, UiGraph, UiLink, UiSubgraph

PRIMITIVE = "PrimitiveNode"
MAX_INPUTS = 500_000
"""Most inputs that all instances of subgraphs may have together."""

_MAX_PROXIES = 1000  # widgets that one instance shows
_MAX_PREFIXES = 100  # one for each level of nested subgraphs
_OLD_PREFIX = re.compile(r"\s*(\d+)\s*:\s*(.+)", re.DOTALL)


class Definitions:
    """The live forms of every subgraph that the workflow uses; `graphs` are by id."""

    def __init__(self, subgraphs: Mapping[str, UiSubgraph], layouts: Layouts) -> None:
        self.graphs: dict[str, LiveGraph] = {}
        self._layouts = layouts
        self._hosts: dict[str, list[Live]] = {}
        self._new_links = self._inputs = 0
        for subgraph in _innermost_first(subgraphs):
            live = self.open(subgraph.graph)
            live.name, live.outputs = subgraph.name, subgraph.outputs
            live.inputs = [Port(port.name, port.kind, list(port.links)) for port in subgraph.inputs]
            self.graphs[subgraph.id] = live

    def open(self, graph: UiGraph) -> LiveGraph:
        """The live form of a graph whose subgraphs are all known, with its hosts' own values set."""
        self._count(graph)
        live = build(graph, self.graphs, self._layouts)
        hosts = [node for node in live.nodes.values() if node.hosts is not None]
        for host in hosts:
            self._hosts.setdefault(host.hosts or "", []).append(host)
            self._promote(host)
        for host in hosts:
            self._take_over_proxies(host)
        return live

    def _count(self, graph: UiGraph) -> None:
        """Raises WorkflowFormatError where the instances of subgraphs have too many inputs together."""
        inputs = (len(self.graphs[node.type].inputs) for node in graph.nodes if node.type in self.graphs)
        self._inputs += sum(inputs)
        if self._inputs > MAX_INPUTS:
            raise WorkflowFormatError(f"The instances of its subgraphs have more than {MAX_INPUTS} inputs.")

    def _promote(self, host: Live) -> None:
        inner = self.graphs[host.hosts or ""]
        for port, slot in zip(inner.inputs, host.slots, strict=True):
            source = promoted(inner, port)
            if source is not None:
                _set_promoted(host, slot, *source)
        if isinstance(host.source.values, tuple):
            for name, value in zip(list(host.values), host.source.values, strict=False):
                host.values[name] = value

    def _take_over_proxies(self, host: Live) -> None:
        """Give the host the values that it saved for its proxy widgets, making inputs for those that have none."""
        inner = self.graphs[host.hosts or ""]
        given = host.source.values if isinstance(host.source.values, tuple) else ()
        entries = [(_normal(inner, self.graphs, entry), at) for at, entry in enumerate(_proxies(host))]
        linked = {_source(inner, port): port.name for port in reversed(inner.inputs)} if entries else {}
        for (node_id, name, through), at in entries:
            value = given[at] if at < len(given) and given[at] is not None else MISSING
            port_name = name if node_id == "-1" else linked.get((node_id, name))
            if port_name is None:
                port_name = self._new_input(inner, host, node_id, name, through)
            if value is not MISSING and port_name in host.values:
                host.values[port_name] = value

    def _new_input(self, inner: LiveGraph, host: Live, node_id: str, name: str, through: str | None) -> str | None:
        """The name of a new input of the subgraph that ends in this inner widget, None where there is no such one."""
        node = inner.nodes.get(node_id)
        if node is None or name.startswith("$$"):
            return None
        if node.type == PRIMITIVE:
            targets = _fed_by(inner, node)
        else:
            slot = self._inner_slot(node, name, through)
            targets = [(node, slot)] if slot is not None else []
        if not targets:
            return None
        return self._connect(inner, host.hosts or "", name, targets)

    def _inner_slot(self, node: Live, name: str, through: str | None) -> Slot | None:
        if node.hosts is None:
            slot = node.slot(name)
            return slot if slot is not None and slot.widget else None
        nested = self.graphs[node.hosts]
        for port in nested.inputs:
            source = _source(nested, port)
            fits = source == (through, name) if through else port.name == name or (source or ("", ""))[1] == name
            if fits and port.name in node.values:
                return node.slot(port.name)
        return None

    def _connect(self, inner: LiveGraph, key: str, name: str, targets: list[tuple[Live, Slot]]) -> str:
        taken = {port.name for port in inner.inputs}
        unique, number = name, 1
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        port = Port(unique, targets[0][1].kind, [])
        for node, slot in targets:
            if slot.link is not None:
                inner.links.pop(slot.link, None)
            self._new_links += 1
            node.relink(slot, f"+{self._new_links}")
            ends = (len(inner.inputs), node.id, node.slots.index(slot))
            key_of_link = slot.link or ""
            inner.links[key_of_link] = UiLink(key_of_link, SUBGRAPH_INPUT, *ends, slot.kind)
            port.links.append(key_of_link)
        inner.inputs.append(port)
        for other in self._hosts[key]:
            fresh = Slot(unique, port.kind, None)
            other.slots.append(fresh)
            source = promoted(inner, port)
            if source is not None:
                _set_promoted(other, fresh, *source)
        return unique


def promoted(inner: LiveGraph, port: Port) -> tuple[Live, Slot] | None:
    """The first widget inside that a subgraph's input ends in: its node and slot."""
    for node, slot in _ends(inner, port):
        if slot.name in node.values and (slot.widget or node.hosts is not None):
            return node, slot
    return None


def _set_promoted(host: Live, slot: Slot, node: Live, source: Slot) -> None:
    slot.widget = True
    host.values[slot.name] = node.values[source.name]
    if source.name in node.firsts:
        host.firsts[slot.name] = node.firsts[source.name]


def _source(inner: LiveGraph, port: Port) -> tuple[str, str] | None:
    """The inner node and input that a subgraph's input stands for."""
    for node, slot in _ends(inner, port):
        if node.hosts is not None or slot.widget:
            return node.id, slot.name
    return None


def _ends(inner: LiveGraph, port: Port) -> Iterator[tuple[Live, Slot]]:
    for key in port.links:
        link = inner.links.get(key)
        node = inner.nodes.get(link.target) if link is not None else None
        slot = node.slot_of_link(key) if node is not None else None
        if node is not None and slot is not None:
            yield node, slot


def _fed_by(inner: LiveGraph, primitive: Live) -> list[tuple[Live, Slot]]:
    """The slots that a primitive node's links end in; none where one of them could not take its value.

    The editor goes by the saved number of the slot here, even where an older editor counted them in another way.
    """
    kind = primitive.outputs[0] if primitive.outputs else "*"
    found = []
    for link in inner.links.values():
        target = inner.nodes.get(link.target) if link.origin == primitive.id else None
        if target is None:
            continue
        slot = target.slot_of_link(link.id)
        if target.known is not None and not target.known.is_dynamic:
            slot = target.slots[link.target_slot] if link.target_slot < len(target.slots) else None
        if slot is None or (slot.kind != kind and "*" not in (slot.kind, kind)):
            return []
        found.append((target, slot))
    return found


def _proxies(host: Live) -> list[tuple[str, str, str | None]]:
    raw = host.source.properties.get("proxyWidgets")
    found: list[tuple[str, str, str | None]] = []
    for entry in raw[:_MAX_PROXIES] if isinstance(raw, list) else []:
        if not isinstance(entry, list) or len(entry) not in (2, 3):
            return []
        found.append((str(entry[0]), str(entry[1]), str(entry[2]) if len(entry) == 3 else None))
    return found


def _normal(
    inner: LiveGraph, graphs: Mapping[str, LiveGraph], entry: tuple[str, str, str | None]
) -> tuple[str, str, str | None]:
    """The entry without the "12: " that older editors wrote before the names of widgets of nested instances."""
    node_id, name, through = entry
    if _resolves(inner, graphs, node_id, name):
        return entry
    for _ in range(_MAX_PREFIXES):
        found = _OLD_PREFIX.fullmatch(name)
        if found is None:
            break
        through, name = found[1], found[2]
    return node_id, name, through


def _resolves(inner: LiveGraph, graphs: Mapping[str, LiveGraph], node_id: str, name: str) -> bool:
    for _ in range(100):
        node = inner.nodes.get(node_id)
        if node is None:
            return False
        if node.hosts is None:
            return name in node.values
        inner = graphs[node.hosts]
        port = next((item for item in inner.inputs if item.name == name), None)
        source = _source(inner, port) if port is not None else None
        if source is None:
            return False
        node_id, name = source
    return False


def _innermost_first(subgraphs: Mapping[str, UiSubgraph]) -> Iterator[UiSubgraph]:
    """Each subgraph after those that it uses.

    Raises WorkflowFormatError where one contains itself.
    """
    done: set[str] = set()
    for start in subgraphs:
        path: dict[str, Iterator[str]] = {}
        if start not in done:
            path[start] = _used(subgraphs, start)
        while path:
            key = next(reversed(path))
            following = next((item for item in path[key] if item not in done), None)
            if following is None:
                done.add(key)
                del path[key]
                yield subgraphs[key]
            elif following in path:
                name = subgraphs[following].name
                raise WorkflowFormatError(
                    f"The subgraph {name!r} contains itself.", hint="Open the workflow and take the inner one out."
                )
            else:
                path[following] = _used(subgraphs, following)


def _used(subgraphs: Mapping[str, UiSubgraph], key: str) -> Iterator[str]:
    return (node.type for node in subgraphs[key].graph.nodes if node.type in subgraphs)


def combos_filled(node: Live) -> None:
    """Give combos without a value their first choice."""
    for name, first in node.firsts.items():
        if node.values.get(name, MISSING) is None:
            node.values[name] = first


def value_of(host: Live, name: str) -> Any:
    """The host's own value of a promoted widget, MISSING where the input is not promoted."""
    return host.values.get(name, MISSING)
