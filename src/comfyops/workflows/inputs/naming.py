"""From values with roles to named inputs: same values of one role become one input, different ones get numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from comfyops.workflows.graph import Graph, Value
from comfyops.workflows.inputs.roles import PREPARING, Candidate, candidates, informative_title, slug
from comfyops.workflows.inputs.tracing import Place, Tracer
from comfyops.workflows.inputs.workflow_input import Encoding, InputKind, WorkflowInput
from comfyops.workflows.node_types import InputType, NodeTypes

_ORDER = (
    *("prompt", "negative_prompt", "lyrics", "mask_prompt", "system_prompt"),
    *("image", "mask", "video", "audio", "file"),
    *("width", "height", "aspect_ratio", "megapixels", "resolution", "size", "frames", "duration", "fps", "bpm"),
    *("batch_size", "seed", "steps", "cfg", "guidance", "denoise", "strength", "controlnet_strength"),
    *("sampler", "scheduler", "shift", "checkpoint", "unet", "clip", "vae", "lora", "lora_strength"),
)
_TITLES = {"cfg": "CFG", "fps": "Frames per second", "bpm": "Beats per minute", "clip": "Text encoder", "vae": "VAE"}
_ALIASES = {
    "prompt": ("positive", "positive_prompt", "text"),
    "negative_prompt": ("negative",),
    "frames": ("length", "num_frames"),
    "sampler": ("sampler_name",),
    "fps": ("frame_rate",),
    "denoise": ("strength",),
    "unet": ("diffusion_model",),
    "clip": ("text_encoder",),
    "checkpoint": ("ckpt", "ckpt_name"),
    "lora_strength": ("lora_weight",),
    "cfg": ("cfg_scale",),
}
_TITLED = frozenset({"prompt", "system_prompt", "lyrics", "image", "video", "audio", "file", "unet", "lora"})
_HUGE = 2**62
_MEDIA = {"image": InputKind.IMAGE, "mask": InputKind.MASK, "video": InputKind.VIDEO, "audio": InputKind.AUDIO}
_KINDS = {"INT": InputKind.INTEGER, "FLOAT": InputKind.NUMBER, "BOOLEAN": InputKind.BOOLEAN, "STRING": InputKind.TEXT}
_SPREAD = frozenset({"width", "height", "frames", "duration", "fps", "batch_size", "strength", "megapixels"})
"""Roles that nodes which only prepare pictures have too; those count only where no other node has the role."""


@dataclass(slots=True)
class Group:
    """Candidates that become one input."""

    role: str
    items: list[Candidate] = field(default_factory=list)
    name: str = ""

    @property
    def places(self) -> dict[Place, None]:
        """The targets, each once."""
        return {item.place: None for item in self.items}


def named(graph: Graph, types: NodeTypes) -> tuple[WorkflowInput, ...]:
    """The inputs of a graph; see `inputs.find`."""
    tracer = Tracer(graph, types)
    groups = _groups(tracer)
    _name(groups, tracer)
    found = [one_input(group, tracer) for group in groups]
    return tuple(_with_aliases(sorted(found, key=_position), groups, tracer))


def _groups(tracer: Tracer) -> list[Group]:
    groups: dict[Any, Group] = {}
    taken: dict[tuple[Place, bool], Any] = {}
    for item in _wanted(tracer):
        known = taken.get((item.place, item.alpha))
        key = known or (item.role, _sameness(tracer, item))
        if known is not None and item.role != groups[known].role and item.via == item.place:
            continue
        taken[(item.place, item.alpha)] = key
        groups.setdefault(key, Group(item.role)).items.append(item)
    return list(groups.values())


def _wanted(tracer: Tracer) -> list[Candidate]:
    """The candidates, nearest first, without the sizes of nodes that only prepare pictures for others."""
    found = sorted(candidates(tracer), key=lambda item: item.rank)
    best: dict[str, set[Any]] = {}
    for item in found:
        if item.rank < PREPARING:
            best.setdefault(item.role, set()).add(_key(tracer.value(item.place)))
    return [item for item in found if not _only_prepares(tracer, item, best)]


def _only_prepares(tracer: Tracer, item: Candidate, best: Mapping[str, set[Any]]) -> bool:
    if item.rank < PREPARING or item.role not in _SPREAD or item.role not in best:
        return False
    same = _key(tracer.value(item.place)) in best[item.role]
    return not same and not tracer.is_constant(tracer.graph[item.place.node])


def _sameness(tracer: Tracer, item: Candidate) -> Any:
    """What candidates of one role must share to be one input."""
    value = tracer.value(item.place)
    if item.role == "seed":
        return "all"
    if item.role in _MEDIA or item.alpha or (value == "" and item.role == "prompt"):
        return item.place
    if item.role == "lora_strength":
        lora = Place(item.place.node, "lora_name")
        return _key(tracer.value(lora)), _key(value)
    if item.role == "prompt" and _is_encoder_field(tracer, item):
        return item.via.node
    return _key(value)


def _is_encoder_field(tracer: Tracer, item: Candidate) -> bool:
    """Whether the text is one of several that one encoder takes (for its two or three text models)."""
    node = tracer.graph[item.via.node]
    fields = ("text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama")
    return sum(name in fields for name in node.inputs or {}) > 1


def _key(value: Value) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number", float(value) if abs(value) < 2**53 else value
    return type(value).__name__, repr(value)


def _name(groups: Sequence[Group], tracer: Tracer) -> None:
    """Give each group a name of its own: its role, with a number from the second on."""
    taken: dict[str, int] = {}
    later = [group for group in groups if group.role == "lora_strength"]
    for group in groups:
        if group not in later:
            group.name = _free(group.role, taken)
    for group in later:
        nodes = {item.place.node for item in group.items}
        lora = next((other.name for other in groups if other.role == "lora" and nodes & _nodes(other)), "lora")
        group.name = _free(f"{lora}_strength", taken)


def _nodes(group: Group) -> set[str]:
    return {item.place.node for item in group.items} | {item.via.node for item in group.items}


def _free(stem: str, taken: dict[str, int]) -> str:
    """The name with the lowest number that is free; `taken` holds the names, with the number last given to each."""
    name = stem
    while name in taken:
        taken[stem] += 1
        name = f"{stem}_{taken[stem]}" if stem[-1:].isdigit() else f"{stem}{taken[stem]}"
    taken[name] = 1
    return name


def _position(item: WorkflowInput) -> tuple[int, str]:
    return _ORDER.index(item.role) if item.role in _ORDER else len(_ORDER), ""


def one_input(group: Group, tracer: Tracer) -> WorkflowInput:
    """The input that a named group of candidates becomes."""
    first = group.items[0]
    declared = [
        item for place in _constraining(group) if (item := tracer.declared(place)) is not None and item.is_widget
    ]
    choices = _choices(declared, tracer, group)
    kind = _kind(group, declared, tracer)
    value = tracer.value(first.place)
    low, high = _bounds(declared, kind)
    encoding = Encoding.ALPHA if first.alpha else Encoding.UPLOAD if group.role in (*_MEDIA, "file") else Encoding.VALUE
    class_type = tracer.graph[first.via.node].class_type or ""
    return WorkflowInput(
        name=group.name,
        title=_title(group, tracer),
        kind=kind,
        default=None if first.alpha else value,
        targets=tuple(group.places),
        role=group.role,
        minimum=low,
        maximum=high,
        choices=None if encoding is not Encoding.VALUE else choices,
        required=encoding is Encoding.UPLOAD and not _is_there(value, declared, tracer),
        multiline=any(item.options.get("multiline") for item in declared),
        folder=(tracer.types.folder(class_type, first.via.input) or "") if kind is InputKind.MODEL else "",
        encoding=encoding,
    )


def _constraining(group: Group) -> dict[Place, None]:
    """The inputs whose ranges and choices hold: the targets, and what they feed unchanged."""
    return {place: None for item in group.items for place in (item.place, item.via)}


def _kind(group: Group, declared: Iterable[InputType], tracer: Tracer) -> InputKind:
    first = group.items[0]
    if group.role in _MEDIA:
        return _MEDIA[group.role]
    if group.role == "file":
        return InputKind.FILE
    node = tracer.graph[first.via.node]
    if tracer.types.folder(node.class_type or "", first.via.input) not in (None, "input"):
        return InputKind.MODEL
    kinds = [item.kind for item in declared]
    if any(item.choices is not None for item in declared):
        return InputKind.CHOICE
    for kind in ("INT", "FLOAT", "BOOLEAN", "STRING"):
        if kind in kinds:
            return _KINDS[kind]
    return _kind_of_value(tracer.value(first.place))


def _kind_of_value(value: Value) -> InputKind:
    if isinstance(value, bool):
        return InputKind.BOOLEAN
    if isinstance(value, int):
        return InputKind.INTEGER
    return InputKind.NUMBER if isinstance(value, float) else InputKind.TEXT


def _choices(declared: Iterable[InputType], tracer: Tracer, group: Group) -> tuple[Any, ...] | None:
    lists = [item.choices for item in declared if item.choices]
    via = group.items[0].via
    folder = tracer.types.folder(tracer.graph[via.node].class_type or "", via.input)
    if not lists or (folder is not None and not tracer.types.files_known):
        return None
    common = tuple(choice for choice in lists[0] if all(choice in other for other in lists[1:]))
    return common or None


def _bounds(declared: Iterable[InputType], kind: InputKind) -> tuple[Any, Any]:
    """What all of them take; the range of a primitive, which is that of the machine's numbers, says nothing."""
    if kind not in (InputKind.INTEGER, InputKind.NUMBER):
        return None, None
    ranges = [(item.options.get("min"), item.options.get("max")) for item in declared]
    ranges = [(low, high) for low, high in ranges if not isinstance(low, int | float) or low > -_HUGE]
    lows = [low for low, _ in ranges if isinstance(low, int | float)]
    highs = [high for _, high in ranges if isinstance(high, int | float)]
    return (max(lows) if lows else None), (min(highs) if highs else None)


def _is_there(value: Value, declared: Sequence[InputType], tracer: Tracer) -> bool:
    """Whether the server is known to have the file that the graph names."""
    return tracer.types.files_known and any(item.choices and value in item.choices for item in declared)


def _title(group: Group, tracer: Tracer) -> str:
    stem = _TITLES.get(group.role) or group.role.replace("_", " ").capitalize()
    number = re.search(r"\d*$", group.name)
    plain = f"{stem} {number[0]}" if number and number[0] and not group.role.endswith(number[0]) else stem
    title = informative_title(tracer, tracer.graph[group.items[0].place.node])
    speaks = group.role in _TITLED or group.role not in _ORDER
    return title if title and len(title) <= 80 and len(group.places) == 1 and speaks else plain


def _with_aliases(found: Sequence[WorkflowInput], groups: Sequence[Group], tracer: Tracer) -> Iterator[WorkflowInput]:
    """The inputs with the other names they go by; a name that would mean two of them is none."""
    wanted = {group.name: _other_names(group, tracer) for group in groups}
    count: dict[str, int] = {}
    for names in wanted.values():
        for name in names:
            count[name] = count.get(name, 0) + 1
    for item in found:
        free = [name for name in wanted[item.name] if count[name] == 1 and name not in wanted]
        yield replace(item, aliases=tuple(free))


def _other_names(group: Group, tracer: Tracer) -> tuple[str, ...]:
    usual = _ALIASES.get(group.role, ()) if group.name == group.role else ()
    first = group.items[0]
    title = slug(informative_title(tracer, tracer.graph[first.place.node]))
    own = [] if first.alpha else [first.alias, title]
    return tuple(name for name in dict.fromkeys([*usual, *own]) if name and name != group.name)
