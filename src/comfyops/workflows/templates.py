"""The official workflow templates, from the package `comfyui-workflow-templates-json` (extra `templates`).

The package holds one JSON file for each workflow, in UI format, and one index for each language: `index.json` in
English, `index.fr.json`, `index.zh.json` and so on, each a list of categories with their templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from comfyops.errors import InvalidValueError, MissingExtraError
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.capability_rules import of_tags

PACKAGE = "comfyui_workflow_templates_json"
ENGLISH = "en"
_INDEX = re.compile(r"index\.([a-z]{2}(?:-[A-Za-z]{2,4})?)\.json")


@dataclass(frozen=True, slots=True)
class Template:
    """One workflow of a library; texts are in the language asked for.

    `source` is "official", "folder" or "server"; `path` is its file (None = on a server). `size` is what its models
    take on disk and `vram` what they need of a GPU, in bytes, both None where nobody says. `open_source` is False for
    workflows that use paid services, None where nobody says; `models` are names of models, not of files.
    """

    name: str
    title: str
    source: str
    path: Path | None
    category: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    media_type: str = ""
    date: str = ""
    usage: int = 0
    search_rank: float = 0
    size: int | None = None
    vram: int | None = None
    min_version: str = ""
    open_source: bool | None = None
    custom_nodes: tuple[str, ...] = ()


def languages() -> tuple[str, ...]:
    """The languages of the index, English first.

    Raises MissingExtraError where the package is not installed.
    """
    found = [_INDEX.fullmatch(path.name) for path in _folder().iterdir()]
    return (ENGLISH, *sorted(match[1] for match in found if match))


def version() -> str:
    """The version of the installed package.

    Raises MissingExtraError.
    """
    from importlib.metadata import version as version_of

    _folder()
    return version_of(PACKAGE.replace("_", "-"))


@cache
def official(language: str = ENGLISH) -> tuple[Template, ...]:
    """The official templates in the order of their index.

    Raises MissingExtraError, and InvalidValueError for a language that there is not.
    """
    known = languages()
    chosen = next((item for item in known if item.casefold() == language.casefold()), None)
    if chosen is None:
        words = f"The templates are not described in {language!r}, only in {', '.join(known)}."
        raise InvalidValueError(words, hint="Give one of these languages.", name="lang")
    english = {} if chosen == ENGLISH else {item.name: item.capabilities for item in official(ENGLISH)}
    folder = _folder()
    name = "index.json" if chosen == ENGLISH else f"index.{chosen}.json"
    index = json.loads((folder / name).read_bytes())
    found: dict[str, Template] = {}
    for category in index:
        for entry in category["templates"]:
            made = _template(entry, category["title"], folder, english)
            found.setdefault(made.name, made)
    return tuple(found.values())


def _folder() -> Path:
    if find_spec(PACKAGE) is None:
        words = "The official templates are not installed."
        raise MissingExtraError(words, hint="Install them with `pip install 'comfyops[templates]'`.")
    return Path(str(resources.files(PACKAGE))) / "templates"


def _template(
    entry: Mapping[str, Any], category: str, folder: Path, english: Mapping[str, tuple[Capability, ...]]
) -> Template:
    name, tags = entry["name"], tuple(entry.get("tags") or ())
    size, vram = entry.get("size"), entry.get("vram")
    return Template(
        name=name,
        title=entry.get("title") or name,
        source="official",
        path=folder / f"{name}.json",
        category=category,
        description=entry.get("description") or "",
        tags=tags,
        models=tuple(entry.get("models") or ()),
        capabilities=english[name] if name in english else of_tags(tags),
        media_type=entry.get("mediaType") or "",
        date=entry.get("date") or "",
        usage=int(entry.get("usage") or 0),
        search_rank=float(entry.get("searchRank") or 0),
        size=int(size) if isinstance(size, int | float) else None,
        vram=int(vram) if isinstance(vram, int | float) else None,
        min_version=entry.get("minComfyUIVersion") or "",
        open_source=entry.get("openSource"),
        custom_nodes=tuple(entry.get("requiresCustomNodes") or ()),
    )
