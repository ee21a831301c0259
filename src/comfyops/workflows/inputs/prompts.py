"""Which texts of a graph are its prompts: found by going back from samplers to the texts that steer them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from comfyops.workflows.graph import Link, Node
from comfyops.workflows.inputs.tracing import Place, Source, Tracer, leaf
from comfyops.workflows.node_types import NodeType

Text: TypeAlias = tuple[str, Place, Place, int]
"""Role, where the text is set, the input it ends up in, rank."""

_POSITIVE, _NEGATIVE = "prompt", "negative_prompt"
_FIELDS = {
    "text": _POSITIVE,
    "prompt": _POSITIVE,
    "text_prompt": _POSITIVE,
    "prompt_text": _POSITIVE,
    "user_prompt": _POSITIVE,
    "caption": _POSITIVE,
    "tags": _POSITIVE,
    "positive_prompt": _POSITIVE,
    "text_g": _POSITIVE,
    "text_l": _POSITIVE,
    "clip_l": _POSITIVE,
    "clip_g": _POSITIVE,
    "t5xxl": _POSITIVE,
    "llama": _POSITIVE,
    "bert": _POSITIVE,
    "mt5xl": _POSITIVE,
    "negative_prompt": _NEGATIVE,
    "negative": _NEGATIVE,
    "lyrics": "lyrics",
    "system_prompt": "system_prompt",
    "instructions": "system_prompt",
}
_TECHNICAL = frozenset(
    {"find", "regex_pattern", "delimiter", "expression", "filename_prefix", "format", "sigmas", "key", "json_string"}
)


def texts(tracer: Tracer) -> Iterator[Text]:
    """The texts with their roles, those that steer samplers first, positive before negative."""
    ends = sorted(_ends(tracer), key=_certainty)
    steering = [place for place in ends if _steers(tracer, place)]
    seen: set[tuple[Place, str]] = set()
    for place in ends:
        role = _role_of_end(place) if not steering or _steers(tracer, place) else "mask_prompt"
        yield from _conditioning(tracer, place, role, seen)
    for place in tracer.places():
        yield from _plain(tracer, place)


def _ends(tracer: Tracer) -> Iterator[Place]:
    """Inputs that take conditioning in nodes that give none on: samplers, guiders, detectors."""
    for node_id in tracer.order:
        node = tracer.graph[node_id]
        node_type = tracer.type_of(node)
        if node_type is None or not any(out.kind == "CONDITIONING" for out in node_type.outputs):
            yield from (Place(node_id, name) for name, _ in node.links() if _is_conditioning(node_type, name))


def _is_conditioning(node_type: NodeType | None, name: str) -> bool:
    if node_type is None:
        return name in ("positive", "negative", "conditioning")
    item = node_type.input(name)
    return item is not None and item.kind == "CONDITIONING"


def _role_of_end(place: Place) -> str:
    return _NEGATIVE if place.input.startswith("neg") else _POSITIVE


def _steers(tracer: Tracer, place: Place) -> bool:
    """Whether the conditioning steers what is made, rather than says what to look for in a picture."""
    node_type = tracer.type_of(tracer.graph[place.node])
    return node_type is None or not {"MASK", "BBOX", "BOUNDING_BOX"}.intersection(out.kind for out in node_type.outputs)


def _certainty(place: Place) -> int:
    """Positive inputs before negative ones; last the middle one of three, which often takes the negative text too."""
    return 2 if place.input == "cond2" else int(_role_of_end(place) == _NEGATIVE)


def _conditioning(tracer: Tracer, place: Place, role: str, seen: set[tuple[Place, str]]) -> Iterator[Text]:
    """The texts of the encoders behind a conditioning input, without those that were seen before."""
    pending: list[tuple[Place, str]] = [(place, role)]
    while pending:
        here, role = pending.pop(0)
        value = tracer.value(here)
        if (here, role) in seen or type(value) is not Link or value.node not in tracer.graph:
            continue
        seen.add((here, role))
        node = tracer.graph[value.node]
        if node.class_type == "ConditioningZeroOut" and role == _NEGATIVE:
            continue  # the positive text, emptied: there is no negative one
        yield from _encoder(tracer, node, role)
        pending += _further(tracer, node, value.slot, role)


def _further(tracer: Tracer, node: Node, slot: int, role: str) -> Iterator[tuple[Place, str]]:
    """The conditioning inputs that an output of a node depends on."""
    node_type = tracer.type_of(node)
    names = [name for name, _ in node.links() if _is_conditioning(node_type, name)]
    if {"positive", "negative"} <= set(names):
        outputs = node_type.outputs if node_type else ()
        steering = [at for at, out in enumerate(outputs) if out.kind == "CONDITIONING"]
        from_negative = steering[1:2] == [slot]
        names = ["negative"] if from_negative else ["positive"]
        role = _NEGATIVE if from_negative else role
    yield from ((Place(node.id, name), role) for name in names)
    if node.class_type in ("ComfySwitchNode", "Reroute"):
        yield from ((Place(node.id, name), role) for name, _ in node.links() if name != "switch")


def _encoder(tracer: Tracer, node: Node, role: str) -> Iterator[Text]:
    """The texts of a node that turns text into conditioning."""
    for name in node.inputs or {}:
        field = _FIELDS.get(leaf(name))
        place = Place(node.id, name)
        if field and _is_text(tracer, place):
            yield from _origins(tracer, place, role if field == _POSITIVE else field)


def _plain(tracer: Tracer, place: Place) -> Iterator[Text]:
    """Texts that no sampler is steered by: those of partner nodes, language models and speakers."""
    node = tracer.graph[place.node]
    node_type = tracer.type_of(node)
    field = _FIELDS.get(leaf(place.input))
    if not field or not _is_text(tracer, place) or (node_type and node_type.is_output):
        return
    encodes = node_type is not None and any(out.kind == "CONDITIONING" for out in node_type.outputs)
    yield from _origins(tracer, place, field, rank=1 if encodes else 0)


def _is_text(tracer: Tracer, place: Place) -> bool:
    item = tracer.declared(place)
    if item is not None:
        return "STRING" in item.kind.split(",")
    return isinstance(tracer.value(place), str)


def _origins(tracer: Tracer, place: Place, role: str, rank: int = 0) -> Iterator[Text]:
    """The texts that make up one text: the one a person writes under its role, others under their titles."""
    found = [item for item in tracer.sources(place) if _is_written(tracer, item)]
    held = [item for item in found if _is_held(tracer, item)] or [item for item in found if tracer.value(item.place)]
    ordered = sorted(held, key=lambda item: _worth(tracer, item))
    for at, item in enumerate(ordered):
        own = _own_role(tracer, item)
        if own in ("system_prompt", "lyrics") and len(ordered) > 1:
            yield own, item.place, place, rank
        elif at == 0:
            yield role, item.place, place, rank


def _is_written(tracer: Tracer, item: Source) -> bool:
    name = leaf(item.place.input)
    return isinstance(tracer.value(item.place), str) and name not in _TECHNICAL and _is_text(tracer, item.place)


def _is_held(tracer: Tracer, item: Source) -> bool:
    """Whether a text is a field of its own, not a piece inside a node that joins texts."""
    name = leaf(item.place.input)
    return item.direct or name in _FIELDS or tracer.is_constant(tracer.graph[item.place.node])


def _worth(tracer: Tracer, item: Source) -> int:
    """How likely a person writes this text, 0 most."""
    title = tracer.graph[item.place.node].title.casefold()
    name = leaf(item.place.input)
    if any(word in title for word in ("system", "template", "instruction")) or _FIELDS.get(name) == "system_prompt":
        return 3
    if "prompt" in title or name in ("prompt", "user_prompt"):
        return 0
    return 1 if tracer.is_constant(tracer.graph[item.place.node]) else 2


def _own_role(tracer: Tracer, item: Source) -> str:
    name = leaf(item.place.input)
    if _worth(tracer, item) == 3:
        return "system_prompt"
    return "lyrics" if name == "lyrics" else ""
