"""Whether a server could run a workflow, before it is asked to: nodes, models, inputs, memory.

Pure: it is told what the server has. What is not known (a size, an address) is said to be unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from comfyops.workflows import node_types
from comfyops.workflows.checks.custom import FileExists
from comfyops.workflows.graph import Graph, Node
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.packs import pack_of
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.replacements import REPLACEMENTS
from comfyops.workflows.stated import Stated, StatedModel
from comfyops.workflows.validate import validate


class Fit(StrEnum):
    """Whether the model files go into the memory of the device; what else a run takes is not in it."""

    FITS = "fits"
    AFTER_UNLOADING = "fits after unloading"  # into its memory, but not into what is free of it now
    TOO_LARGE = "larger than VRAM"  # ComfyUI then keeps parts in RAM, which is slower
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The device that a server computes on; bytes."""

    name: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True, slots=True)
class MissingNode:
    """A class that the server does not have: the nodes of it, what brings it ("" = not known), and where that is."""

    class_type: str
    nodes: tuple[str, ...]
    brought_by: str
    url: str = ""
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """A model file: `installed` is None where that is not known; `size` in bytes; `url` "" where no source is named."""

    folder: str
    name: str
    nodes: tuple[str, ...]
    installed: bool | None
    size: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class VramFit:
    """Bytes of the model files of known size against the device's memory; `unknown` are the others, empty ones too."""

    fit: Fit
    known_bytes: int
    unknown: tuple[str, ...]
    device: DeviceFacts | None


@dataclass(frozen=True)
class Readiness:
    """All that stands between a workflow and its run."""

    missing_nodes: tuple[MissingNode, ...]
    models: tuple[ModelNeed, ...]
    problems: tuple[Problem, ...]
    vram: VramFit

    @property
    def missing_models(self) -> tuple[ModelNeed, ...]:
        """The models that the server does not have."""
        return tuple(item for item in self.models if item.installed is False)

    @property
    def ready(self) -> bool:
        """Whether nothing is missing or wrong; memory is only a warning, since ComfyUI makes do with less."""
        wrong = any(problem.severity is not Severity.WARNING for problem in self.problems)
        return not self.missing_nodes and not self.missing_models and not wrong


def readiness(
    graph: Graph,
    types: NodeTypes,
    *,
    stated: Stated | None = None,
    sizes: Mapping[tuple[str, str], int] | None = None,
    device: DeviceFacts | None = None,
) -> Readiness:
    """Check a graph against a server's node types; `sizes` are bytes of its model files by (folder, name)."""
    stated = stated or Stated()
    models = tuple(_models(graph, types, stated, sizes or {}))
    return Readiness(
        tuple(_missing_nodes(graph, types, stated)), models, tuple(_problems(graph, types)), _vram(models, device)
    )


def _missing_nodes(graph: Graph, types: NodeTypes, stated: Stated) -> Iterator[MissingNode]:
    missing: dict[str, list[str]] = {}
    for node in graph:
        if node.class_type is not None and not _is_known(node, types):
            missing.setdefault(node.class_type, []).append(node.id)
    for class_type, nodes in missing.items():
        brought_by, url = _bringer(class_type, types, stated)
        yield MissingNode(class_type, tuple(nodes), brought_by, url, nearest(class_type, types))


def _is_known(node: Node, types: NodeTypes) -> bool:
    """Whether the server has the class, or puts another in its place."""
    new = REPLACEMENTS.get(node.class_type or "")
    replaced = types.is_modern and node.has_meta and new is not None and new.class_type in types
    return replaced or node.class_type in types


def _bringer(class_type: str, types: NodeTypes, stated: Stated) -> tuple[str, str]:
    new = REPLACEMENTS.get(class_type)
    if new is not None and new.class_type in types:
        return f"{new.class_type}, which took its place: `comfyops workflow fix` puts it in", ""
    versions = [version for version in reversed(node_types.SHIPPED) if class_type in node_types.shipped(version)]
    pack = stated.packs.get(class_type)
    if versions and pack is None:
        newest = node_types.SHIPPED[0]
        words = f"ComfyUI >= {versions[0]}" if newest in versions else f"ComfyUI {versions[-1]}, left out of {newest}"
        return words, ""
    pack = pack or pack_of(class_type)
    if pack is not None:
        return pack.name, pack.url
    return (f"ComfyUI newer than {types.version or node_types.SHIPPED[0]}" if class_type in stated.core else ""), ""


def _models(
    graph: Graph, types: NodeTypes, stated: Stated, sizes: Mapping[tuple[str, str], int]
) -> Iterator[ModelNeed]:
    addresses = {(model.folder, _base(model.name)): model for model in stated.models}
    found: dict[tuple[str, str], tuple[list[str], bool | None]] = {}
    for node in graph:
        for folder, name, installed in model_files(node, types, stated):
            found.setdefault((folder, name), ([], installed))[0].append(node.id)
    for (folder, name), (nodes, installed) in found.items():
        source = addresses.get((folder, _base(name))) or StatedModel(folder, name)
        size = sizes.get((folder, name))
        yield ModelNeed(folder, name, tuple(nodes), installed, size, source.url)


def model_files(node: Node, types: NodeTypes, stated: Stated) -> Iterator[tuple[str, str, bool | None]]:
    """(folder, name, installed) of each model file that a node names; installed is None where that is not known."""
    class_type = node.class_type or ""
    node_type = types.get(class_type)
    names = {model.name: model.folder for model in stated.models} if node_type is None else {}
    for key, value in (node.inputs or {}).items():
        if not isinstance(value, str) or not value:
            continue
        folder = types.folder(class_type, key) or names.get(value)
        if folder is None or folder == "input":
            continue
        item = node_type.input(key) if node_type else None
        if item is not None and item.options.get("default") == value and value in ("None", "none"):
            continue
        known = types.files_known and item is not None and item.choices is not None
        yield folder, value, value in (item.choices or ()) if known and item is not None else None


def _problems(graph: Graph, types: NodeTypes) -> Iterator[Problem]:
    """What else is wrong, with nodes of missing classes taken as they are and files left to the models."""
    for problem in validate(graph, _with_stand_ins(graph, types), file_exists=_uploads(graph, types)):
        node = graph.nodes.get(problem.node)
        folder = types.folder(node.class_type or "", problem.input) if node is not None else None
        is_model = problem.code == "value_not_in_list" and folder not in (None, "input")
        if not is_model and problem.code != "file_not_checked":
            yield problem


def _uploads(graph: Graph, types: NodeTypes) -> FileExists | None:
    """Whether the server has a file to load; its lists hold those that lie in its input folder itself."""
    if not types.files_known:
        return None
    listed: set[object] = set()
    for class_type in {node.class_type for node in graph if node.class_type in types}:
        for item in types[class_type or ""].inputs:
            if types.folder(class_type or "", item.name) == "input":
                listed.update(item.choices or ())

    def exists(folder: str, name: str) -> bool:
        return folder != "input" or "/" in name or "\\" in name or ":" in name or name in listed

    return exists


def _with_stand_ins(graph: Graph, types: NodeTypes) -> NodeTypes:
    """The node types with a class that takes and gives anything for each class that is missing."""
    taken: dict[str, int] = {}
    for node in graph:
        for _, link in node.links():
            taken[link.node] = max(taken.get(link.node, 0), link.slot + 1)
    facts = types.object_info()
    for node in graph:
        if node.class_type is not None and not _is_known(node, types):
            count = max(taken.get(node.id, 0), len((facts.get(node.class_type) or {}).get("output", ())))
            is_output = node.id not in taken or (facts.get(node.class_type) or {}).get("output_node", False)
            inputs = {name: ["*", {}] for name in node.inputs or {}}
            earlier = (facts.get(node.class_type) or {}).get("input", {}).get("optional", {})
            facts[node.class_type] = {
                "input": {"required": {}, "optional": {**earlier, **inputs}},
                "output": ["*"] * count,
                "output_node": is_output,
            }
    return NodeTypes(facts, version=types.version, files_known=types.files_known, folders=types.folders)


def _vram(models: tuple[ModelNeed, ...], device: DeviceFacts | None) -> VramFit:
    known = sum(item.size or 0 for item in models)
    unknown = tuple(item.name for item in models if not item.size)
    fit = Fit.UNKNOWN
    if device is not None and device.vram_total > 0:
        if known > device.vram_total:
            fit = Fit.TOO_LARGE
        elif not unknown:
            fit = Fit.FITS if known <= device.vram_free else Fit.AFTER_UNLOADING
    return VramFit(fit, known, unknown, device)


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
