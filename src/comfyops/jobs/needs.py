"""What a job needs of a backend: node classes, model files, memory, tags. Pure: no input or output."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comfyops.workflows.graph import Graph, Node
from comfyops.workflows.node_types import NodeTypes, is_core, shipped
from comfyops.workflows.readiness import model_files
from comfyops.workflows.stated import Stated

LIGHT = frozenset({"configs", "embeddings", "hypernetworks", "input", "loras", "vae_approx"})
"""Folders of files that are read anew or patched onto a loaded model: they do not decide what must be in memory."""

_NOTHING = Stated()
_MODEL_SUFFIXES = (".bin", ".ckpt", ".gguf", ".onnx", ".pt", ".pth", ".safetensors", ".sft")


class ModelFile(NamedTuple):
    """One model file as nodes name it; `folder` is "" where only the name is known."""

    folder: str
    name: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass(frozen=True, slots=True)
class Needs:
    """What a backend must have for a job. Equal needs have equal keys, in every process and release.

    `vram` is the least total memory of a device in bytes (0 = the job does not say), `backend` the only one that may
    take it ("" = any). `model_set` names the files that must be loaded, "" where there are none: jobs of one set can
    follow one another without loading.
    """

    classes: frozenset[str] = frozenset()
    models: tuple[ModelFile, ...] = ()
    vram: int = 0
    tags: frozenset[str] = frozenset()
    backend: str = ""
    key: str = field(init=False, compare=False)
    model_set: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(sorted(set(self.models))))
        text = json.dumps(self.as_dict(), separators=(",", ":"), sort_keys=True)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:32])
        object.__setattr__(self, "model_set", " + ".join(str(m) for m in self.models if m.folder not in LIGHT))

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "classes": sorted(self.classes),
            "models": [list(model) for model in self.models],
            "vram": self.vram,
            "tags": sorted(self.tags),
            "backend": self.backend,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Needs:
        """The value of `as_dict`."""
        return cls(
            frozenset(data["classes"]),
            tuple(ModelFile(folder, name) for folder, name in data["models"]),
            data["vram"],
            frozenset(data["tags"]),
            data["backend"],
        )


_LONGEST_REMEMBERED = 1000
"""Characters of all tags together; anybody may ask for long ones, which no backend has."""


def needs_of(
    graph: Graph,
    types: NodeTypes | None = None,
    *,
    stated: Stated | None = None,
    vram: int = 0,
    tags: Iterable[str] = (),
    backend: str = "",
) -> Needs:
    """What a graph needs. `types` are those of some server that has its classes, else the shipped ones count.

    Every class counts, since servers refuse a graph for any node that they do not know; model files only of nodes that
    an output node depends on.
    """
    known = shipped() if types is None else types
    classes = frozenset(node.class_type for node in graph if node.class_type is not None)
    used = _used(graph, known)
    stated = stated or _NOTHING
    models = frozenset(model for node in graph if node.id in used for model in _models(node, known, stated))
    wanted = frozenset(tags)
    make = _needs if sum(map(len, wanted)) <= _LONGEST_REMEMBERED else _needs.__wrapped__
    return make(classes, models, vram, wanted, backend)


@functools.lru_cache(4096)
def _needs(
    classes: frozenset[str], models: frozenset[ModelFile], vram: int, tags: frozenset[str], backend: str
) -> Needs:
    """Made once: their key takes longer than all else, and most jobs need what others needed."""
    return Needs(classes, tuple(models), vram, tags, backend)


def _used(graph: Graph, types: NodeTypes) -> frozenset[str]:
    """The nodes that will run; a class that is not known may be an output, so it counts as one."""
    outputs = [node.id for node in graph if node.class_type not in types or types[node.class_type or ""].is_output]
    return graph.upstream(outputs)


def _models(node: Node, types: NodeTypes, stated: Stated) -> Iterator[ModelFile]:
    found = [(folder, name) for folder, name, _ in model_files(node, types, stated)]
    yield from (ModelFile(folder, name) for folder, name in found)
    class_type = node.class_type or ""
    if is_core(class_type):
        return
    named = {name for _, name in found}
    for key, value in (node.inputs or {}).items():
        if isinstance(value, str) and value not in named and _names_a_model(class_type, key, value, types):
            yield ModelFile("", value)


def _names_a_model(class_type: str, key: str, value: str, types: NodeTypes) -> bool:
    """Whether an input of a custom class is a choice of model files; of an unknown class nobody can tell."""
    item = types[class_type].input(key) if class_type in types else None
    return item is not None and item.choices is not None and value.lower().endswith(_MODEL_SUFFIXES)
