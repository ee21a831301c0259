"""`comfyops.lock`: everything that a workflow ran with, so that it can be had again elsewhere and later.

    {"schema": "comfyops-lock/1", "workflow": {"name": ..., "sha256": ...}, "comfyui": {"version": ..., "commit": ...},
     "nodes": {"PACK": {"url": ..., "version": ..., "commit": ..., "classes": [...]}},
     "models": {"vae/ae.safetensors": {"url": ..., "revision": ..., "size": ..., "sha256": ..., "said_by": ...}}}

The part `models` is that of a lock of models alone (`models.lock`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from comfyops.errors import CatalogError, NotJsonError
from comfyops.models import lock
from comfyops.models.check import Finding
from comfyops.models.entry import ModelEntry
from comfyops.models.folders import pack_paths
from comfyops.models.lock import Lock, Pin
from comfyops.models.provision import Outcome
from comfyops.support.files import read_bytes, write_text
from comfyops.support.git_folders import commit_of, origin_of
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.packs import pack_of
from comfyops.workflows.stated import Stated

NAME = "comfyops.lock"
SCHEMA = "comfyops-lock/1"

_MOST_BYTES = 32 * 1024 * 1024
_CUSTOM = "custom_nodes."
_HINT = "Make one with `comfyops workflow prepare FILE --lock LOCK`."


@dataclass(frozen=True, slots=True)
class PackPin:
    """A pack of custom nodes: the classes that are used of it, and what is known of it ("" = nothing)."""

    classes: tuple[str, ...]
    url: str = ""
    version: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program in a folder: its version and commit ("" = not known)."""

    version: str = ""
    commit: str = ""


@dataclass(frozen=True)
class WorkflowLock:
    """What a workflow needs, exactly: its own name and SHA-256, ComfyUI, packs by name, models by id."""

    workflow: str
    sha256: str
    comfyui: Program = Program()
    packs: Mapping[str, PackPin] = field(default_factory=dict)
    models: Lock = field(default_factory=Lock)


def load(file: Path) -> WorkflowLock:
    """Read a lock file.

    Raises MissingFileError, NotJsonError, CatalogError for what is no lock, UnsafeNameError for a model's bad name.
    """
    try:
        data = json.loads(read_bytes(file, _MOST_BYTES))
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{file} is not JSON: {error.msg} in line {error.lineno}.", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"{file} is not JSON.", hint=_HINT) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise CatalogError(f"{file} is no lock of a workflow.", hint=_HINT)
    workflow, comfyui, nodes = (_object(data, name, file) for name in ("workflow", "comfyui", "nodes"))
    return WorkflowLock(
        _word(workflow, "name", file),
        _word(workflow, "sha256", file),
        Program(_word(comfyui, "version", file), _word(comfyui, "commit", file)),
        {name: _pack(_object(nodes, name, file), file) for name in nodes},
        lock.read_pins(_object(data, "models", file), file),
    )


def save(chosen: WorkflowLock, file: Path) -> None:
    """Write a lock file, sorted, so that two of them can be compared.

    Raises StorageError, DiskFullError.
    """
    data = {
        "schema": SCHEMA,
        "workflow": {"name": chosen.workflow, "sha256": chosen.sha256},
        "comfyui": _said(asdict(chosen.comfyui)),
        "nodes": {name: _said(asdict(chosen.packs[name])) for name in sorted(chosen.packs)},
        "models": lock.written(chosen.models),
    }
    write_text(file, json.dumps(data, indent=2) + "\n")


def packs_of(graphs: Iterable[Graph], types: NodeTypes, stated: Stated, root: Path | None = None) -> dict[str, PackPin]:
    """The packs of custom nodes that graphs use, with versions and commits of those that lie in a ComfyUI's folder."""
    used: dict[str, set[str]] = {}
    urls: dict[str, str] = {}
    for class_type in sorted({node.class_type for graph in graphs for node in graph if node.class_type}):
        name, url = _pack_of(class_type, types, stated)
        if name:
            used.setdefault(name, set()).add(class_type)
            urls[name] = url or urls.get(name, "")
    folders = pack_folders(root) if root else {}
    return {name: _pinned(tuple(sorted(used[name])), urls[name], folders.get(name.casefold())) for name in used}


def pins_of(findings: Iterable[Finding], outcomes: Iterable[Outcome], known: Lock) -> dict[str, Pin]:
    """What each model is, as it was found or fetched; `known` is what sources said. One without a hash is left out."""
    pins = {item.entry.id: _pin(item.entry, item.size, item.sha256, known) for item in findings if item.good}
    pins |= {item.entry.id: _pin(item.entry, None, item.sha256, known) for item in outcomes if item.ok}
    return {key: pin for key, pin in pins.items() if pin.sha256 and pin.url}


def kept(old: Lock, new: Mapping[str, Pin]) -> Lock:
    """The pins of an older lock as they are, and new ones; what an old one lacks of the same file is filled in."""
    return Lock({**new, **{key: _filled(pin, new.get(key)) for key, pin in old.pins.items()}})


def _filled(old: Pin, new: Pin | None) -> Pin:
    if new is None or old.sha256 not in (None, new.sha256):
        return old
    size, url = old.size or new.size, old.url or new.url
    revision = old.revision or (new.revision if url == new.url else None)
    return replace(old, url=url, size=size, sha256=new.sha256, revision=revision)


def _pin(entry: ModelEntry, size: int | None, sha256: str | None, known: Lock) -> Pin:
    said = known.pins.get(entry.id)
    if said is not None and said.sha256 == (sha256 or entry.sha256):
        return said
    url = entry.urls[0] if entry.urls else ""
    by = "catalog" if entry.sha256 else "bytes"
    return Pin(url, size or entry.size, sha256 or entry.sha256, _revision(url), by, lock.now())


def _revision(url: str) -> str | None:
    """The commit in an address, None where it names none."""
    found = re.search(r"/resolve/([0-9a-f]{40})/", url)
    return found[1] if found else None


def program_in(root: Path | None, version: str = "") -> Program:
    """ComfyUI's version, as a server says it or as its folder does, and its commit."""
    if root is None:
        return Program(version)
    with suppress(OSError, UnicodeDecodeError):
        text = (root / "comfyui_version.py").read_text(encoding="utf-8")
        found = re.search(r"""__version__\s*=\s*["']([^"']+)["']""", text)
        version = version or (found[1] if found else "")
    return Program(version, commit_of(root))


def pack_folders(root: Path) -> dict[str, Path]:
    """The folders of custom nodes, by their names in lower case; raises what `pack_paths` does."""
    found: dict[str, Path] = {}
    for folder in pack_paths(root):
        with suppress(OSError):
            found = {path.name.casefold(): path for path in folder.iterdir() if path.is_dir()} | found
    return found


def _pack_of(class_type: str, types: NodeTypes, stated: Stated) -> tuple[str, str]:
    """(name, address) of the pack that brings a class: what the server says, the workflow says, or is known."""
    known = stated.packs.get(class_type) or pack_of(class_type)
    url = known.url if known else ""
    if class_type in types:
        module = types[class_type].module
        return (module.removeprefix(_CUSTOM).partition(".")[0], url) if module.startswith(_CUSTOM) else ("", "")
    return (known.name, url) if known else ("", "")


def version_of(folder: Path) -> str:
    """The version that a pack's folder says it has, "" where it says none."""
    with suppress(OSError, ValueError):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        return str(project.get("version") or "") if isinstance(project, dict) else ""
    return ""


def _pinned(classes: tuple[str, ...], url: str, folder: Path | None) -> PackPin:
    if folder is None:
        return PackPin(classes, url)
    return PackPin(classes, origin_of(folder) or url, version_of(folder), commit_of(folder))


def _pack(data: Mapping[str, Any], file: Path) -> PackPin:
    classes = data.get("classes")
    names = tuple(item for item in classes if isinstance(item, str)) if isinstance(classes, list) else ()
    return PackPin(names, *(_word(data, name, file) for name in ("url", "version", "commit")))


def _object(data: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, dict):
        raise CatalogError(f"{file}: {name[:80]!r} is no object.", hint=_HINT)
    return value


def _word(data: Mapping[str, Any], name: str, file: Path) -> str:
    value = data.get(name) or ""
    if not isinstance(value, str):
        raise CatalogError(f"{file}: {name!r} is no text: {str(value)[:40]}.", hint="Put it in quotation marks.")
    return value


def _said(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value}
