"""Which model files a server has, and which of them somebody means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from comfyops.errors import StoryboardError
from comfyops.workflows.node_types import NodeTypes

_EXTENSION = re.compile(r"\.(safetensors|sft|ckpt|pth?|bin|gguf)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model file: its name in sentences, the node input that lists it, the folder it lies in."""

    name: str
    node: str
    input: str
    folder: str


CHECKPOINT = Kind("checkpoint", "CheckpointLoaderSimple", "ckpt_name", "checkpoints")
DIFFUSION_MODEL = Kind("diffusion model", "UNETLoader", "unet_name", "diffusion_models")
TEXT_ENCODER = Kind("text encoder", "CLIPLoader", "clip_name", "text_encoders")
VAE = Kind("VAE", "VAELoader", "vae_name", "vae")
LORA = Kind("LoRA", "LoraLoader", "lora_name", "loras")
CONTROLNET = Kind("ControlNet", "ControlNetLoader", "control_net_name", "controlnet")
IP_ADAPTER = Kind("IP-Adapter", "IPAdapterModelLoader", "ipadapter_file", "ipadapter")
CLIP_VISION = Kind("CLIP vision model", "CLIPVisionLoader", "clip_name", "clip_vision")


def available(kind: Kind, types: NodeTypes) -> tuple[str, ...] | None:
    """The files of a kind that the server has; None where nobody knows (offline)."""
    if not types.files_known:
        return None
    declared = types[kind.node].input(kind.input) if kind.node in types else None
    return tuple(str(item) for item in (declared.choices or ())) if declared else ()


def find(kind: Kind, wanted: str, types: NodeTypes) -> str:
    """The server's file that is meant: of this name, or the only one whose name it is but for extension, folder, case
    or some more words. Where the server's files are not known, the name as it is.

    Raises StoryboardError naming the nearest files.
    """
    files = available(kind, types)
    if files is None or wanted in files:
        return wanted
    for same in (_path, _stem, _words):
        found = [name for name in files if same(name) == same(wanted)]
        if len(found) == 1:
            return found[0]
    holding = [name for name in files if len(_words(wanted)) > 2 and _words(wanted) in _words(name)]
    if len(holding) == 1:
        return holding[0]
    raise _not_found(kind, wanted, files, holding)


def pick(kind: Kind, types: NodeTypes, fits: Callable[[str], bool], preferred: Sequence[str]) -> str | None:
    """The file to take where nobody named one: the first preferred one, else the first that fits, None without any.

    Where the server's files are not known, the first preferred one.
    """
    files = available(kind, types)
    if files is None:
        return preferred[0]
    fitting = [name for name in files if fits(base(name))]
    for name in preferred:
        for file in fitting:
            if base(file) == base(name):
                return file
    return min(fitting, key=lambda name: (len(name), name), default=None)


def base(name: str) -> str:
    """A file's name without its folders, in lower case."""
    return _path(name).rsplit("/", 1)[-1]


def _not_found(kind: Kind, wanted: str, files: Sequence[str], holding: Sequence[str]) -> StoryboardError:
    if not files:
        return StoryboardError(
            f"The server has no {kind.name} at all, so {wanted!r} cannot be used.",
            hint=f"Put the file into the server's models/{kind.folder} folder.",
        )
    by_stem = {_stem(name): name for name in files}
    near = holding or [by_stem[stem] for stem in get_close_matches(_stem(wanted), by_stem, 3, 0.4)] or files[:3]
    which = "more than one fits" if holding else "the nearest are" if near is not files else "it has"
    return StoryboardError(
        f"The server has no {kind.name} named {wanted!r}; {which}: {', '.join(near)}.", nearest=list(near)
    )


def _path(name: str) -> str:
    return name.replace("\\", "/").lower()


def _stem(name: str) -> str:
    return _EXTENSION.sub("", base(name))


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _stem(name))
