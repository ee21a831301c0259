"""The catalog: every model that is known, and the groups they form.

Shipped lists (`data/sets.json`, written by hand, and `data/templates.json`, made by `tools/template_models.py`) and a
person's own catalogs are merged by folder and file. What somebody says first counts, own catalogs before shipped ones;
addresses and groups are kept from all. A group is a set by name ("flux2") or an official template by its name.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from typing import Any

from comfyops.errors import CatalogError, UnknownModelError
from comfyops.models.entry import ModelEntry, merged, parse
from comfyops.models.folders import canonical
from comfyops.workflows.nearest import nearest

DEFAULT_GROUP = "storycore"
"""The group that is meant where none is named: the documented FLUX.2 pipeline with its optional models."""

SHIPPED = ("sets.json", "templates.json")

_SCHEMA = "models/1"
_OF_GROUPS = ("title", "templates")
_PARTS = frozenset({"models", "groups", "schema"})


@dataclass(frozen=True, slots=True)
class Group:
    """A set of models by name. `templates` are official templates whose models belong to it too."""

    name: str
    title: str
    templates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What one file of a catalog says."""

    models: tuple[ModelEntry, ...] = ()
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which models are meant. Nothing given means the models of `DEFAULT_GROUP`; `everything` means all there are."""

    models: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    everything: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that was chosen, and whether it must be there."""

    entry: ModelEntry
    required: bool = True


@dataclass(frozen=True)
class Catalog:
    """Models by id ("folder/file") and groups by name."""

    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    def find(self, text: str) -> tuple[ModelEntry, ...]:
        """The models that a person may mean by this: an id, a file's name or its stem, in any case.

        Folders may have their old names, and stand below `models/`. Raises UnknownModelError with the nearest names.
        """
        found = self._by_name.get(_spelt(text))
        if not found:
            near = nearest(text, [entry.name for entry in self.models.values()])
            words = f"There is no model {text[:120]!r} in the catalogs."
            raise UnknownModelError(words, hint=self._instead(text) or _hint(near), nearest=near)
        return found

    def members(self, group: str) -> tuple[Wanted, ...]:
        """The models of a group or official template, in the catalog's order.

        Raises UnknownModelError with the nearest names.
        """
        if group not in self.all_groups:
            near = nearest(group, list(self.all_groups))
            hint = (
                _hint(near) or "List them with `comfyops models ls --groups`; an official template's name is one too."
            )
            raise UnknownModelError(f"There is no group {group[:120]!r} of models.", hint=hint, nearest=near)
        return self.all_groups[group]

    def chosen(self, choice: Choice) -> tuple[Wanted, ...]:
        """The models that a choice means, each once, required where anything requires it.

        A group's optional models are among them even where they are not asked for: they are looked at, not fetched.
        """
        found: dict[str, Wanted] = {}
        named = [Wanted(entry) for text in choice.models for entry in self.find(text)]
        if choice.everything:
            named += [Wanted(entry) for entry in self.models.values()]
        groups = choice.groups or (() if named else (DEFAULT_GROUP,))
        for item in [*named, *(item for group in groups for item in self.members(group))]:
            known = found.get(item.entry.id)
            required = item.required or choice.optional or (known is not None and known.required)
            found[item.entry.id] = Wanted(item.entry, required)
        return tuple(found.values())

    def search(self, text: str) -> tuple[ModelEntry, ...]:
        """The models whose id, groups or note hold all of these words."""
        words = text.casefold().split()
        return tuple(entry for entry in self.models.values() if all(word in _text(entry) for word in words))

    @cached_property
    def all_groups(self) -> Mapping[str, tuple[Wanted, ...]]:
        """Every group and official template with its models."""
        found: dict[str, dict[str, Wanted]] = {}
        for entry in self.models.values():
            for name in entry.required_in:
                found.setdefault(name, {})[entry.id] = Wanted(entry)
            for name in entry.optional_in:
                found.setdefault(name, {}).setdefault(entry.id, Wanted(entry, required=False))
        return {name: tuple(members.values()) for name, members in found.items()}

    def _instead(self, text: str) -> str | None:
        """What to say to a person who names something that is no model."""
        if text in self.all_groups:
            return f"It is a group: --group {text}."
        if "://" in text:
            return "Fetch an address with `comfyops models download --url URL --folder FOLDER`."
        return None

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[ModelEntry, ...]]:
        found: dict[str, dict[str, ModelEntry]] = {}
        for entry in self.models.values():
            file = entry.file.rpartition("/")[2]
            for name in (entry.id, entry.file, file, entry.name, f"{entry.folder}/{entry.name}"):
                found.setdefault(_spelt(name), {})[entry.id] = entry
        return {name: tuple(entries.values()) for name, entries in found.items()}


def shipped() -> tuple[Listing, ...]:
    """The catalogs that come with the package."""
    folder = files("comfyops.models") / "data"
    return tuple(listing(json.loads((folder / name).read_text(encoding="utf-8")), name) for name in SHIPPED)


def listing(data: Any, where: str) -> Listing:
    """A catalog from JSON or YAML.

    Raises CatalogError and UnsafeNameError naming what is wrong with it.
    """
    said = data if isinstance(data, Mapping) else {"models": data}
    entries = [] if said.get("models") is None else said["models"]
    if not isinstance(data, Mapping) or not isinstance(entries, list) or (said and not said.keys() & _PARTS):
        raise CatalogError(f"{where} is no list of models: it is no object with 'models'.")
    if data.get("schema", _SCHEMA) != _SCHEMA:
        raise CatalogError(f"{where} is of the schema {str(data['schema'])[:40]!r}, not {_SCHEMA!r}.")
    models = tuple(parse(item, f"{where}, model {number}") for number, item in enumerate(entries, 1))
    _agreeing(models, where)
    groups = {} if data.get("groups") is None else data["groups"]
    if not isinstance(groups, Mapping):
        raise CatalogError(f"{where}: 'groups' is no object of groups by name.")
    return Listing(models, tuple(_group(str(name), item, where) for name, item in groups.items()))


def combined(listings: Iterable[Listing]) -> Catalog:
    """The catalog of several lists; what an earlier one says goes before what a later one says."""
    found: dict[str, ModelEntry] = {}
    groups: dict[str, Group] = {}
    for item in listings:
        for entry in item.models:
            known = found.get(entry.id)
            found[entry.id] = merged(known, entry) if known else entry
        for group in item.groups:
            groups.setdefault(group.name, group)
    using = _using(groups.values())
    return Catalog({key: _grouped(entry, using) for key, entry in found.items()}, groups)


def load(own: Sequence[Listing] = ()) -> Catalog:
    """The whole catalog, a person's own lists first."""
    return combined([*own, *shipped()])


def _using(groups: Iterable[Group]) -> Mapping[str, tuple[str, ...]]:
    """Template -> the groups that take its models."""
    found: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for template in group.templates:
            found[template] = (*found.get(template, ()), group.name)
    return found


def _grouped(entry: ModelEntry, using: Mapping[str, tuple[str, ...]]) -> ModelEntry:
    """The entry with the groups that its templates belong to; a model that an entry itself calls optional stays so."""
    required = [group for name in entry.required_in for group in using.get(name, ()) if group not in entry.optional_in]
    optional = [group for name in entry.optional_in for group in using.get(name, ()) if group not in entry.required_in]
    if not required and not optional:
        return entry
    needs = tuple(dict.fromkeys((*entry.required_in, *required)))
    likes = tuple(name for name in dict.fromkeys((*entry.optional_in, *optional)) if name not in needs)
    return replace(entry, required_in=needs, optional_in=likes)


def _agreeing(models: Sequence[ModelEntry], where: str) -> None:
    """See that entries of one file promise the same bytes. Raises CatalogError."""
    first: dict[str, int] = {}
    for number, entry in enumerate(models, 1):
        before = first.setdefault(entry.id, number)
        if models[before - 1].contradicts(entry.size, entry.sha256):
            raise CatalogError(f"{where}: models {before} and {number} are both {entry.id}, with other bytes.")


def _group(name: str, data: Any, where: str) -> Group:
    if not isinstance(data, Mapping):
        raise CatalogError(f"{where}: the group {name[:80]!r} is no object.")
    unknown = sorted(str(field) for field in data if field not in _OF_GROUPS)
    if unknown:
        words = f"{where}: {unknown[0]!r} is no field of the group {name[:80]!r}; there are {', '.join(_OF_GROUPS)}."
        raise CatalogError(words)
    templates = data.get("templates") or []
    if not isinstance(templates, list) or not all(isinstance(item, str) for item in templates):
        raise CatalogError(f"{where}: the templates of the group {name[:80]!r} are no list of names.")
    title = data.get("title")
    if title is not None and not isinstance(title, str):
        raise CatalogError(f"{where}: the title of the group {name[:80]!r} is no text.")
    return Group(name, title or name, tuple(templates))


def _text(entry: ModelEntry) -> str:
    return " ".join((entry.id, *entry.required_in, *entry.optional_in, entry.note)).casefold()


def _spelt(name: str) -> str:
    """A name as it is compared: case, kind of slash, way of writing accents and old names of folders do not count."""
    text = unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()
    folder, slash, file = text.removeprefix("./").removeprefix("models/").partition("/")
    return f"{canonical(folder)}/{file}" if slash else folder


def _hint(near: Sequence[str]) -> str | None:
    return f"Did you mean {', '.join(repr(name) for name in near)}?" if near else None
