"""What the values of a graph are for: the prompt, the seed, the width, the second picture, ...

A role is found from structure first (which text reaches a sampler's positive input, which numbers size its latent
picture), then from the names that node classes give their inputs, then from the titles that a person gave to nodes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comfyops.workflows.graph import Link, Node
from comfyops.workflows.inputs.prompts import texts
from comfyops.workflows.inputs.tracing import Place, Source, Tracer, leaf

SAME_NAME = {
    "seed": "seed",
    "noise_seed": "seed",
    "steps": "steps",
    "cfg": "cfg",
    "cfg_conds": "cfg",
    "guidance": "guidance",
    "denoise": "denoise",
    "batch_size": "batch_size",
    "fps": "fps",
    "frame_rate": "fps",
    "width": "width",
    "height": "height",
    "length": "frames",
    "frames": "frames",
    "num_frames": "frames",
    "video_frames": "frames",
    "frames_number": "frames",
    "duration": "duration",
    "duration_seconds": "duration",
    "seconds": "duration",
    "megapixels": "megapixels",
    "aspect_ratio": "aspect_ratio",
    "strength": "strength",
    "sampler_name": "sampler",
    "scheduler": "scheduler",
    "shift": "shift",
    "filename_prefix": "filename_prefix",
    "strength_model": "lora_strength",
    "strength_clip": "lora_strength",
    "bpm": "bpm",
}
"""Names of inputs that mean the same in every class -> role."""

FOLDER_ROLES = {
    "checkpoints": "checkpoint",
    "diffusion_models": "unet",
    "unet": "unet",
    "text_encoders": "clip",
    "clip": "clip",
    "vae": "vae",
    "loras": "lora",
}
"""Folder of models -> role; other folders give their own name, in the singular."""

PREPARING = 2
"""Rank of what only prepares pictures for other nodes."""

_OF_RESULTS = frozenset({"frames", "batch_size", "duration", "aspect_ratio", "strength"})
_ANY_NUMBER = frozenset({"INT", "FLOAT"})
_KINDS = {"sampler": "COMBO", "scheduler": "COMBO", "aspect_ratio": "COMBO", "filename_prefix": "STRING"}
_RESULT = frozenset({"LATENT", "NOISE", "SIGMAS", "GUIDER", "SAMPLER", "CONDITIONING", "MODEL", "VIDEO"})
_MEDIA = frozenset({"IMAGE", "MASK", "AUDIO", "VIDEO"})
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload")
_TITLE_WORDS = (
    ("negative", "negative_prompt"),
    ("system", "system_prompt"),
    ("duration", "duration"),
    ("seconds", "duration"),
    ("fps", "fps"),
    ("frame rate", "fps"),
    ("framerate", "fps"),
    ("frames", "frames"),
    ("length", "frames"),
    ("width", "width"),
    ("height", "height"),
    ("seed", "seed"),
)
_PLAIN_TITLES = frozenset({"int", "float", "string", "boolean", "text", "prompt text", "number"})
_TYPE_WORDS = re.compile(
    r"(?:int|integer|float|number|boolean|bool|string|text|primitive|input text|text string|load \w+)\b[^(]*\((.+)\)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that may become an input: its role, where it is set, the input it ends up in, and how near it is.

    `rank` 0 is what makes the result, 1 what goes along with it, 2 what only prepares pictures. `alias` is a second
    name; `alpha` marks a mask that travels in a picture's alpha channel.
    """

    role: str
    place: Place
    via: Place
    rank: int = 0
    alias: str = ""
    alpha: bool = False


def candidates(tracer: Tracer) -> Iterator[Candidate]:
    """Every value worth a name, with its role; a place may come more than once, its first role counts."""
    yield from _uploads(tracer)
    yield from (Candidate(role, place, via, rank) for role, place, via, rank in texts(tracer))
    for place in tracer.places():
        yield from _declared_roles(tracer, place)
    for place in tracer.places():
        yield from _others(tracer, place)


def _declared_roles(tracer: Tracer, place: Place) -> Iterator[Candidate]:
    node = tracer.graph[place.node]
    folder = tracer.types.folder(node.class_type or "", place.input)
    if folder is not None and folder != "input":
        role = FOLDER_ROLES.get(folder) or slug(re.sub(r"(?<=ch)es$|(?<=[a-z])s$", "", folder)) or "model"
        yield from (Candidate(role, item.place, place) for item in tracer.sources(place) if item.direct)
        return
    role = SAME_NAME.get(leaf(place.input).casefold(), "")
    if not role or not _fits(tracer, place, role) or _unused(node, place.input):
        return
    if role == "strength" and "ControlNet" in (node.class_type or ""):
        role = "controlnet_strength"
    rank = _rank(tracer, node)
    if rank == PREPARING and role in _OF_RESULTS and tracer.takes_media(node):
        return
    found = [item for item in tracer.sources(place) if _fits(tracer, item.place, role)]
    for item in found:
        named = role if item.direct else _indirect_role(tracer, role, item, alone=len(found) == 1)
        if named:
            yield Candidate(named, item.place, place if item.direct else item.place, rank)


def _indirect_role(tracer: Tracer, role: str, item: Source, *, alone: bool) -> str:
    """The role of a value that another is computed from; "" = none that anybody would set."""
    node = tracer.graph[item.place.node]
    by_name = SAME_NAME.get(leaf(item.place.input), "")
    if by_name:
        return by_name
    if not tracer.is_constant(node):
        return ""
    by_title = title_role(informative_title(tracer, node))
    return by_title or (role if alone else slug(informative_title(tracer, node)) or role)


def _fits(tracer: Tracer, place: Place, role: str) -> bool:
    """Whether an input can hold values of this role."""
    item = tracer.declared(place)
    if item is None:
        value = tracer.value(place)
        return type(value) is Link or isinstance(value, str) == (role in _KINDS)
    wanted = {_KINDS[role]} if role in _KINDS else {*_ANY_NUMBER, *(["COMBO"] if role == "duration" else [])}
    kinds = set(item.kind.split(",")) | ({"COMBO"} if item.choices is not None else set())
    return "*" in kinds or not wanted.isdisjoint(kinds)


def _unused(node: Node, name: str) -> bool:
    """Whether the node ignores this value: the seed of a sampler that adds no noise."""
    return name == "noise_seed" and (node.inputs or {}).get("add_noise") in ("disable", False)


def _rank(tracer: Tracer, node: Node) -> int:
    node_type = tracer.type_of(node)
    if node_type is None or node_type.is_api_node or node_type.is_output:
        return 0
    outputs = {item.kind for item in node_type.outputs}
    if outputs & {"LATENT", "NOISE", "GUIDER", "SAMPLER"}:
        return 0
    if outputs & _RESULT:
        return 1
    return PREPARING


def _uploads(tracer: Tracer) -> Iterator[Candidate]:
    found = []
    for place in tracer.places():
        item = tracer.declared(place)
        folder = tracer.types.folder(tracer.graph[place.node].class_type or "", place.input)
        uploads = folder == "input" or (item is not None and any(item.options.get(key) for key in _UPLOADS))
        if uploads and type(tracer.value(place)) is not Link:
            end = _end(tracer, place.node)
            found.append((_position(tracer, end, place.node), place, end))
    for _, place, end in sorted(found):
        alias = leaf(end.input) if end else ""
        yield Candidate(_medium(tracer, place), place, place, alias=alias)
        if _lends_mask(tracer, place.node):
            yield Candidate("mask", place, place, 1, alpha=True)


def _end(tracer: Tracer, node_id: str) -> Place | None:
    """The input that a loaded file ends up in, past nodes that only resize or convert it."""
    for _ in range(20):
        users = tracer.consumers.get(node_id, ())
        if not users:
            return None
        place = users[0][0]
        node_type = tracer.type_of(tracer.graph[place.node])
        if node_type is None or node_type.is_api_node or not _passes(tracer, place.node):
            return place
        node_id = place.node
    return None


def _passes(tracer: Tracer, node_id: str) -> bool:
    """Whether a node takes one picture (or sound) and hands one on."""
    node = tracer.graph[node_id]
    node_type = tracer.type_of(node)
    outputs = {item.kind for item in node_type.outputs} if node_type else set()
    return len(list(node.links())) == 1 and bool(outputs) and outputs <= {*_MEDIA, "COMFY_MATCHTYPE_V3"}


def _position(tracer: Tracer, end: Place | None, node_id: str) -> tuple[int, int, int]:
    order = tracer.ranks
    if end is None:
        return len(order), 0, order[node_id]
    return order[end.node], list(tracer.graph[end.node].inputs or {}).index(end.input), order[node_id]


def _medium(tracer: Tracer, place: Place) -> str:
    item = tracer.declared(place)
    options: Mapping[str, object] = item.options if item else {}
    node_type = tracer.type_of(tracer.graph[place.node])
    outputs = [out.kind for out in node_type.outputs] if node_type else []
    if options.get("video_upload") or outputs[:1] == ["VIDEO"]:
        return "video"
    if options.get("audio_upload") or outputs[:1] == ["AUDIO"]:
        return "audio"
    if outputs[:1] == ["MASK"] or leaf(place.input) == "mask":
        return "mask"
    return "image" if options.get("image_upload") or outputs[:1] == ["IMAGE"] else "file"


def _lends_mask(tracer: Tracer, node_id: str) -> bool:
    """Whether both the picture and the alpha channel of a LoadImage are used."""
    slots = {slot for _, slot in tracer.consumers.get(node_id, ())}
    return tracer.graph[node_id].class_type == "LoadImage" and slots >= {0, 1}


def _others(tracer: Tracer, place: Place) -> Iterator[Candidate]:
    """Values of primitives, open switches and partner nodes that have no role of their own."""
    node = tracer.graph[place.node]
    if type(tracer.value(place)) is Link:
        return
    node_type = tracer.type_of(node)
    title = slug(informative_title(tracer, node))
    if tracer.is_constant(node):
        yield Candidate(_constant_name(tracer, node, title) or place.input, place, place, 2)
    elif place.input == "switch" and title:
        yield Candidate(title, place, place, 2)
    elif node_type is not None and node_type.is_api_node:
        item = tracer.declared(place)
        if item is not None and item.is_widget and not item.options.get("hidden"):
            yield Candidate(slug(leaf(place.input)) or "value", place, place)


def _constant_name(tracer: Tracer, node: Node, title: str) -> str:
    """A name for a primitive: its title, with the role that it would have if a switch stood otherwise before it."""
    users = tracer.consumers.get(node.id, ())
    if not users:
        return title
    user = users[0][0]
    if not user.input.startswith("on_"):
        return title or leaf(user.input)
    beyond = tracer.consumers.get(user.node, ())
    role = SAME_NAME.get(leaf(beyond[0][0].input), "") if beyond else ""
    if role and (role in title or title in role):
        return role
    return "_".join(part for part in (role, title) if part) or leaf(user.input)


def informative_title(tracer: Tracer, node: Node) -> str:
    """The title a person gave the node, "" where it is only what its class is called."""
    node_type = tracer.type_of(node)
    usual = [node.class_type or "", node_type.display_name if node_type else ""]
    title = unicodedata.normalize("NFKC", node.title).strip()
    outer, _, inner = title.partition("(")
    if title in usual or title.casefold() in _PLAIN_TITLES:
        return ""
    if inner.endswith(")") and outer.strip() in [name.partition("(")[0].strip() for name in usual if name]:
        return inner[:-1].strip()
    found = _TYPE_WORDS.fullmatch(title)
    return found[1].strip() if found else title


def title_role(title: str) -> str:
    """The role that a title names, "" where it names none."""
    words = title.casefold()
    return next((role for word, role in _TITLE_WORDS if word in words), "")


def slug(title: str) -> str:
    """A title as a name: lower case, ASCII, words joined by underscores; "" where nothing is left."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "_", plain.casefold()).strip("_")[:40].strip("_")
    return words if words[:1].isalpha() else ""
