"""Which model files there are: those a server offers at this moment, or those in an installation's folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from comfyops.backends.backend import Backend
from comfyops.models.folders import Folders, canonical, folders_of
from comfyops.models.inventory import scan
from comfyops.storycore.comfyui_config import ComfyUIConfig
from comfyops.workflows.node_types import NodeTypes

Models = dict[str, list[str]]
"""Models folder -> names of files as nodes know them, with their subfolders, sorted."""


async def server_models(backend: Backend) -> Models:
    """The model files that a server's nodes offer now: the server looks into all its folders anew.

    Raises BackendErrors.
    """
    return offered(await backend.node_types(refresh=True))


def local_models(config: ComfyUIConfig, extra_paths: Iterable[str | Path] = ()) -> Models:
    """The model files below an installation, in every folder, at any depth, and where its `extra_model_paths.yaml`
    and the given files of that kind say. A folder that ComfyUI does not know (a custom node's) has its own name.

    Raises MissingFileError, NotJsonError, InputError for such a file that cannot be used.
    """
    known = folders_of(config.comfyui_path, [Path(path) for path in extra_paths]).paths
    found: Models = {}
    for item in scan(Folders({**_other_folders(config.comfyui_path / "models", known), **known})).files:
        found.setdefault(item.folder, []).append(item.name)
    return {folder: sorted(names) for folder, names in sorted(found.items())}


def _other_folders(models: Path, known: Mapping[str, tuple[Path, ...]]) -> dict[str, tuple[Path, ...]]:
    """Folders of `models` that are none of the known ones."""
    taken = {path for paths in known.values() for path in paths}
    found = sorted(models.iterdir()) if models.is_dir() else []
    return {path.name: (path,) for path in found if path.is_dir() and path not in taken and path.name not in known}


def offered(types: NodeTypes) -> Models:
    """The model files that node types list; empty where they are not a server's own."""
    if not types.files_known:
        return {}
    found: dict[str, set[str]] = {}
    for class_type, inputs in types.folders.items():
        if class_type in types:
            for name, folder in inputs.items():
                declared = types[class_type].input(name)
                if folder != "input" and declared is not None:
                    found.setdefault(canonical(folder), set()).update(map(str, declared.choices or ()))
    return {folder: sorted(names) for folder, names in sorted(found.items()) if names}
