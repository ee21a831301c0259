"""ComfyUI's names for the folders of models, and where they lie.

Source: the folders of ComfyUI 0.33.0 (GET /experiment/models of a running server) and its `extra_model_paths.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from comfyops.errors import InputError, NotJsonError
from comfyops.support.files import read_bytes
from comfyops.support.yaml_text import BoundedLoader

ALIASES: Mapping[str, str] = {"clip": "text_encoders", "unet": "diffusion_models"}
"""Old names of folders, which still mean the new ones."""

EXTENSIONS = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".sft"})
"""Endings of model files; GGUF files are taken too, where nodes of a custom pack load them."""

SUBFOLDERS: Mapping[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            "checkpoints",
            "loras",
            "vae",
            "clip_vision",
            "style_models",
            "embeddings",
            "diffusers",
            "vae_approx",
            "gligen",
            "upscale_models",
            "latent_upscale_models",
            "hypernetworks",
            "photomaker",
            "classifiers",
            "model_patches",
            "audio_encoders",
            "background_removal",
            "frame_interpolation",
            "geometry_estimation",
            "optical_flow",
            "detection",
            "configs",
        )
    },
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("unet", "diffusion_models"),
    "controlnet": ("controlnet", "t2i_adapter"),
}
"""Folder name -> folders below `models`, in the order in which ComfyUI looks into them."""

KNOWN = frozenset({*SUBFOLDERS, *ALIASES})
"""ComfyUI's own names of folders, old and new ones."""

OUTPUTS: Mapping[str, str] = {
    "checkpoints": "checkpoints",
    "loras": "loras",
    "vae": "vae",
    "text_encoders": "clip",
    "diffusion_models": "diffusion_models",
}
"""Folder name -> folder below `output`, where nodes save what ComfyUI then finds as models."""

EXTRA_PATHS = "extra_model_paths.yaml"
PACKS = "custom_nodes"

_MOST_BYTES = 1024 * 1024
_NOT_MODELS = frozenset({PACKS, "datasets", "download_model_base"})


@dataclass(frozen=True)
class Folders:
    """Where models lie: folder name -> paths, in the order in which ComfyUI looks into them."""

    paths: Mapping[str, tuple[Path, ...]]


def canonical(name: str) -> str:
    """The present name of a folder."""
    return ALIASES.get(name, name)


def folders_of(
    comfyui: Path, extra: Iterable[Path] = (), *, models: Path | None = None, output: Path | None = None
) -> Folders:
    """The models folders of a ComfyUI installation, its `extra_model_paths.yaml` and further such files honoured.

    `models` and `output` stand for its own folders of these names. Raises MissingFileError, NotJsonError and InputError
    where such a file cannot be used.
    """
    models, output = models or comfyui / "models", output or comfyui / "output"
    paths = {name: [models / below for below in subfolders] for name, subfolders in SUBFOLDERS.items()}
    own = comfyui / EXTRA_PATHS
    further = [line for file in [*([own] if own.is_file() else []), *extra] for line in extra_paths(file)]
    further += [(name, output / below, False) for name, below in OUTPUTS.items()]
    for name, path, first in further:
        known = paths.setdefault(name, [])
        if path in known and first:
            known.remove(path)
        if path not in known:
            known.insert(0 if first else len(known), path)
    return Folders({name: tuple(found) for name, found in paths.items()})


def extra_paths(file: Path) -> list[tuple[str, Path, bool]]:
    """(folder name, path, whether it goes before all others) of each line of an `extra_model_paths.yaml`.

    Relative paths start at `base_path`, a relative one of those at the file's own folder; `~` and variables stand for
    something in `base_path` alone. Raises MissingFileError, NotJsonError for what is no YAML, InputError for YAML that
    says something else.
    """
    return [item for item in _all_paths(file) if item[0] not in _NOT_MODELS]


def pack_paths(comfyui: Path) -> tuple[Path, ...]:
    """The folders in which an installation looks for packs of custom nodes; raises what `extra_paths` does."""
    own = comfyui / EXTRA_PATHS
    further = [path for name, path, _ in _all_paths(own) if name == PACKS] if own.is_file() else []
    return tuple(dict.fromkeys((comfyui / PACKS, *further)))


def _all_paths(file: Path) -> list[tuple[str, Path, bool]]:
    data = _load(file)
    found: list[tuple[str, Path, bool]] = []
    for title, section in data.items():
        if section is None:
            continue
        if not isinstance(section, dict):
            raise _odd(file, f"{title!r} is no list of folders")
        written = str(section.get("base_path") or "").replace("\0", "")
        base = file.absolute().parent / os.path.expandvars(os.path.expanduser(written))  # noqa: PTH111 (never raises)
        first = bool(section.get("is_default"))
        for name, value in section.items():
            if name in ("base_path", "is_default") or value is None:
                continue
            if not isinstance(value, str) or not isinstance(name, str) or "\0" in value:
                raise _odd(file, f"{title}.{name} is no path")
            lines = [line for line in value.split("\n") if line.strip()]
            found += [(canonical(name), Path(os.path.normpath(base / line)), first) for line in lines]
    return found


def _load(file: Path) -> dict[Any, Any]:
    text = read_bytes(file, _MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise _odd(file, "it is larger than 1 MiB")
    try:
        data = yaml.load(text, BoundedLoader)  # as ComfyUI reads it: a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise NotJsonError(f"{file} is not YAML: {error.problem} in line {line}.", hint="Check the file.") from error
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        raise NotJsonError(f"{file} is not YAML that can be read.", hint="Check the file.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise _odd(file, "it holds no sections")
    return data


def _odd(file: Path, why: str) -> InputError:
    hint = "It looks like 'comfyui: {base_path: /data, loras: models/loras}'."
    return InputError(f"{file} does not name models folders: {why}.", hint=hint, path=str(file))
