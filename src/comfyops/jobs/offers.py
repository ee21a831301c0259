"""What a backend offers, and why it cannot run a job. Pure: no input or output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyops.backends.backend import SystemStats
from comfyops.backends.model_files import ServerModel
from comfyops.jobs.needs import ModelFile, Needs
from comfyops.models.folders import canonical
from comfyops.workflows.nearest import nearest
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.replacements import REPLACEMENTS

_GIB = 1024**3
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Offer:
    """What one backend has. `models` are file names by folder, `vram` bytes of its largest device (0 = not known).

    `modern` servers put newer classes in the place of those that were replaced. Offers of the same content have the
    same `key`.
    """

    classes: frozenset[str] = frozenset()
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vram: int = 0
    tags: frozenset[str] = frozenset()
    modern: bool = True
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text = json.dumps(self.as_dict(), separators=(",", ":"), sort_keys=True)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:32])

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "classes": sorted(self.classes),
            "models": {folder: sorted(names) for folder, names in sorted(self.models.items())},
            "vram": self.vram,
            "tags": sorted(self.tags),
            "modern": self.modern,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Offer:
        """The value of `as_dict`."""
        models = {folder: frozenset(names) for folder, names in data["models"].items()}
        return cls(frozenset(data["classes"]), models, data["vram"], frozenset(data["tags"]), data["modern"])

    def has_class(self, name: str) -> bool:
        """Whether a node of this class runs here, itself or by the class that took its place."""
        new = REPLACEMENTS.get(name) if self.modern else None
        return name in self.classes or (new is not None and new.class_type in self.classes)

    def has_model(self, model: ModelFile) -> bool:
        """Whether nodes find this file here; without a folder, whether any folder has it."""
        if model.folder:
            return model.name in self.models.get(canonical(model.folder), ())
        return any(model.name in names for names in self.models.values())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a backend cannot run a job: `kind` is class, model, vram, tag or backend, `what` names what is missing."""

    kind: str
    what: str
    message: str


def offer_of(
    types: NodeTypes, models: Iterable[ServerModel] = (), stats: SystemStats | None = None, tags: Iterable[str] = ()
) -> Offer:
    """The offer of a server by what it tells.

    The choices of its loaders count beside its files: some are no files, such as "pixel_space" of VAELoader.
    """
    found: dict[str, set[str]] = {}
    for model in models:
        found.setdefault(canonical(model.folder), set()).add(model.name)
    for class_type, inputs in types.folders.items():
        if class_type in types:
            for name, folder in inputs.items():
                item = types[class_type].input(name)
                if folder != "input" and item is not None and item.choices:
                    found.setdefault(canonical(folder), set()).update(map(str, item.choices))
    vram = max((device.vram_total for device in stats.devices), default=0) if stats else 0
    frozen = {folder: frozenset(names) for folder, names in found.items()}
    return Offer(frozenset(types), frozen, vram, frozenset(tags), types.is_modern)


def refusals(needs: Needs, offer: Offer, backend: str = "") -> tuple[Refusal, ...]:
    """Everything that keeps a backend from running a job, empty where nothing does."""
    found = [_refused_class(name, offer) for name in sorted(needs.classes) if not offer.has_class(name)]
    found += [_refused_model(model, offer) for model in needs.models if not offer.has_model(model)]
    if needs.vram and offer.vram and offer.vram < needs.vram:
        words = f"its largest device has {offer.vram / _GIB:.1f} GiB, the job wants {needs.vram / _GIB:.1f} GiB"
        found.append(Refusal("vram", str(needs.vram), words))
    for tag in sorted(needs.tags - offer.tags):
        near = nearest(tag, sorted(offer.tags))
        found.append(Refusal("tag", tag, f"it has no tag {tag!r}{_near(near)}"))
    if needs.backend and needs.backend != backend:
        found.append(Refusal("backend", needs.backend, f"the job wants the backend {needs.backend!r}"))
    return tuple(found)


class Fits:
    """Which offers serve which needs, remembered by their keys, so that the question costs one look-up."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, needs: Needs, offer: Offer, backend: str) -> bool:
        """Whether a backend of this offer and name can run jobs of these needs."""
        if needs.backend and needs.backend != backend:
            return False
        key = (needs.key, offer.key)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = _serves(needs, offer)
        return known


def nobody(needs: Needs, offers: Mapping[str, Offer], most: int = 5) -> tuple[str, ...]:
    """One sentence for each backend that can never run a job, the nearest ones first; empty where one of them can.

    Backends that refuse for the same reasons share a sentence; at most `most` sentences.
    """
    reasons: dict[tuple[str, ...], list[str]] = {}
    for backend, offer in offers.items():
        found = refusals(needs, offer, backend)
        if not found:
            return ()
        reasons.setdefault(tuple(refusal.message for refusal in found), []).append(backend)
    ordered = sorted(reasons.items(), key=lambda item: (len(item[0]), item[1]))
    return tuple(f"{_names(backends)}: {'; '.join(_some(words))}" for words, backends in ordered[:most])


def _serves(needs: Needs, offer: Offer) -> bool:
    return (
        needs.tags <= offer.tags
        and (not needs.vram or not offer.vram or offer.vram >= needs.vram)
        and all(offer.has_class(name) for name in needs.classes)
        and all(offer.has_model(model) for model in needs.models)
    )


def _refused_class(name: str, offer: Offer) -> Refusal:
    return Refusal("class", name, f"it has no node class {name!r}{_near(nearest(name, offer.classes))}")


def _refused_model(model: ModelFile, offer: Offer) -> Refusal:
    known = offer.models.get(canonical(model.folder), frozenset()) if model.folder else frozenset[str]()
    near = nearest(model.name, known or sorted({name for names in offer.models.values() for name in names}))
    return Refusal("model", str(model), f"it has no model file {str(model)!r}{_near(near)}")


def _near(names: tuple[str, ...]) -> str:
    return f" (nearest: {', '.join(names)})" if names else ""


def _names(backends: list[str]) -> str:
    return ", ".join(backends) if len(backends) <= 3 else f"{', '.join(backends[:3])} and {len(backends) - 3} more"


def _some(words: tuple[str, ...]) -> tuple[str, ...]:
    return words if len(words) <= 4 else (*words[:4], f"and {len(words) - 4} more")
