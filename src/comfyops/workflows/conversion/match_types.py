"""Slots whose types follow what is linked to them: all slots of one template take, and give, the same type.

Source: the official editor, 1.49.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comfyops.workflows.conversion.live import Live, LiveGraph, Slot
from comfyops.workflows.node_types import MATCH_TYPE
from comfyops.workflows.ui_format import SUBGRAPH_INPUT

_ROUNDS = 20


def settle(graph: LiveGraph) -> None:
    """Give the slots of matched types the types that the links of this graph leave them."""
    nodes = [node for node in graph.nodes.values() if node.matched]
    for _ in range(min(_ROUNDS, len(nodes) + 1)):
        changed = [_settle(graph, node) for node in nodes]
        if not any(changed):
            return


def _settle(graph: LiveGraph, node: Live) -> bool:
    """Whether anything changed."""
    before = node.outputs
    for template in {template for template, _ in node.matched.values()}:
        slots = [slot for slot in node.slots if node.matched.get(slot.name, ("",))[0] == template]
        linked = [_linked_type(graph, slot) for slot in slots]
        for at, slot in enumerate(slots):
            slot.kind = common([*linked[:at], *linked[at + 1 :], node.matched[slot.name][1]])
        node.outputs = _outputs(node, template, common(linked))
    return node.outputs != before


def _linked_type(graph: LiveGraph, slot: Slot) -> str:
    link = graph.links.get(slot.link) if slot.link is not None else None
    if link is None:
        return "*"
    if link.origin == SUBGRAPH_INPUT:
        return graph.inputs[link.origin_slot].kind if link.origin_slot < len(graph.inputs) else "*"
    origin = graph.nodes.get(link.origin)
    return origin.outputs[link.origin_slot] if origin is not None and link.origin_slot < len(origin.outputs) else "*"


def _outputs(node: Live, template: str, kind: str) -> tuple[str, ...]:
    raw: Mapping[str, object] = node.known.raw if node.known is not None else {}
    listed = raw.get("output_matchtypes")
    templates = listed if isinstance(listed, list) else []
    return tuple(
        kind if at < len(templates) and templates[at] == template else "*" if own == MATCH_TYPE else own
        for at, own in enumerate(node.outputs)
    )


def common(kinds: Iterable[str]) -> str:
    """The types that all of these have in common; "*" is any, and what has nothing in common is any too."""
    lists = [kind.split(",") for kind in kinds if kind != "*"]
    shared = [kind for kind in (lists[0] if lists else ()) if all(kind in other for other in lists)]
    return ",".join(shared) or "*"
