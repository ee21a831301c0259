"""The node facts that a simulated server works with: those of a version, with this server's files filled in."""

from __future__ import annotations

import copy
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfyops.simulator.files import Folders
from comfyops.workflows.node_types import NodeTypes

_UPLOADS = {"image_upload": ("image",), "audio_upload": ("audio", "video"), "video_upload": ("video",)}
_OTHER_FILES = {"LoadLatent": (".latent",), "GeminiInputFiles": (".txt", ".pdf"), "OpenAIInputFiles": (".txt", ".pdf")}


class Facts:
    """Node types whose lists of files are those of an inventory (models) and of the input folder (uploads).

    `types` is one object for the life of the server, so that parsed node types are kept; `refresh` brings the lists of
    uploads up to date.
    """

    def __init__(self, base: NodeTypes, models: Mapping[str, Sequence[str]], folders: Folders) -> None:
        self._folders = folders
        self._listed: list[str] | None = None
        self._uploads = {
            name: tuple(key for key, folder in places.items() if folder == "input")
            for name, places in base.folders.items()
            if name in base
        }
        self._raw = {name: _with_models(base, name, models) for name in base}
        self.types = NodeTypes(self._raw, version=base.version, files_known=True, folders=base.folders)

    def refresh(self) -> NodeTypes:
        """The node types with the uploads that are there now."""
        names = self._folders.inputs()
        if names != self._listed:
            self._listed = names
            for class_type, inputs in self._uploads.items():
                for name in inputs:
                    spec = _spec(self._raw[class_type], name)
                    if spec is not None:
                        _set_choices(spec, [file for file in names if _suits(file, class_type, spec)])
            self.types = NodeTypes(self._raw, version=self.types.version, folders=self.types.folders)
        return self.types

    def object_info(self, *names: str) -> dict[str, Any]:
        """The answer of GET /object_info, for all classes or for these."""
        types = self.refresh()
        chosen = [name for name in names if name in types] if names else list(types)
        blank: dict[str, Any] = {"description": ""}
        if types.is_modern:
            blank["search_aliases"] = []
        return {name: {**blank, **self._raw[name]} for name in chosen}

    def fingerprint(self, class_type: str, name: str, value: Any) -> str:
        """For an input that names an uploaded file: the state of that file; "" for any other input."""
        if not isinstance(value, str) or name not in self._uploads.get(class_type, ()):
            return ""
        path = self._folders.input_file(value)
        return _state(path) if path is not None else ""


def _state(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _with_models(base: NodeTypes, class_type: str, models: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    raw: dict[str, Any] = base.object_info()[class_type]
    places = base.folders.get(class_type, {})
    if not places:
        return raw
    raw = copy.deepcopy(raw)
    for name, folder in places.items():
        spec = _spec(raw, name)
        if spec is not None and folder != "input":
            _set_choices(spec, [*sorted(models.get(folder, ())), *_choices(spec)])
    return raw


def _spec(raw: Mapping[str, Any], name: str) -> list[Any] | None:
    for group in ("required", "optional"):
        spec = (raw["input"].get(group) or {}).get(name)
        if isinstance(spec, list):
            return spec
    return None


def _set_choices(spec: list[Any], names: list[str]) -> None:
    if isinstance(spec[0], list):
        spec[0] = names
    elif len(spec) > 1 and isinstance(spec[1], dict):
        spec[1]["options"] = names


def _choices(spec: list[Any]) -> list[str]:
    """Choices that are no files, such as "pixel_space" among the VAEs."""
    if isinstance(spec[0], list):
        return list(spec[0])
    return list(spec[1].get("options") or ()) if len(spec) > 1 else []


def _suits(file: str, class_type: str, spec: list[Any]) -> bool:
    if class_type in _OTHER_FILES:
        return file.endswith(_OTHER_FILES[class_type])
    options = spec[1] if len(spec) > 1 else {}
    kinds = next((kinds for option, kinds in _UPLOADS.items() if options.get(option)), ())
    return (mimetypes.guess_type(file)[0] or "").partition("/")[0] in kinds
