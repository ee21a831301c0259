"""The library: official templates, a person's own folders, what a server has saved; found by name or by words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from comfyops.errors import MissingExtraError, MissingFileError, UnknownTemplateError
from comfyops.support.files import read_bytes
from comfyops.workflows import templates
from comfyops.workflows.nearest import nearest
from comfyops.workflows.templates import ENGLISH, Template

ANY = "any"
"""The language that stands for all of them."""

MAX_FILE = 64 * 1024 * 1024
"""Largest workflow that is read, in bytes."""


class Library:
    """Workflows of several sources; where a name is there twice, a person's folder goes before the official one.

    `folders` are read when first needed; `saved` are names of a server's workflows. Without the extra `templates` the
    library holds only those; asking for what they have not raises MissingExtraError.
    """

    def __init__(self, folders: Sequence[Path] = (), saved: Sequence[str] = ()) -> None:
        self._folders = tuple(folders)
        self._saved = tuple(saved)

    def all(self, language: str = ENGLISH) -> tuple[Template, ...]:
        """Every workflow, the person's own first, official ones in their index's order.

        Raises MissingExtraError (only where there are no others), MissingFileError for a folder that is not there,
        InvalidValueError for an unknown language.
        """
        try:
            official = templates.official(ENGLISH if language == ANY else language)
        except MissingExtraError:
            if not self.own:
                raise
            official = ()
        own = {item.name for item in self.own}
        return (*self.own, *(item for item in official if item.name not in own))

    @cached_property
    def own(self) -> tuple[Template, ...]:
        """The workflows of the folders and of the server."""
        found: dict[str, Template] = {}
        for folder in self._folders:
            for item in of_folder(folder):
                found.setdefault(item.name, item)
        for name in self._saved:
            found.setdefault(name, Template(name, name.rpartition("/")[2], "server", None, category="saved"))
        return tuple(found.values())

    def get(self, name: str, language: str = ENGLISH) -> Template:
        """The workflow of this name (case and a final .json do not matter), else the one of this title.

        Raises UnknownTemplateError with the nearest names, MissingExtraError.
        """
        wanted = fold(name.removesuffix(".json"))
        known = self.all(language)
        found = [item for item in known if wanted in (fold(item.name), fold(item.title))]
        if found:
            return min(found, key=lambda item: fold(item.name) != wanted)
        near = nearest(name, [item.name for item in known]) or tuple(
            item.name for item in self.search(name.replace("_", " "))[:3]
        )
        words = f" Nearest: {', '.join(near)}." if near else ""
        raise UnknownTemplateError(f"The library has no workflow {name!r}.{words}", name=name, suggestions=near)

    def search(self, text: str, language: str = ENGLISH) -> tuple[Template, ...]:
        """The workflows in which every word of the text is found, best first.

        Words may stand in name, title, description, tags, category and models; accents and case do not matter. With
        the language ANY all languages are searched, and texts are given in English.
        """
        words = fold(text).split()
        named = templates.languages() if language == ANY and self._has_official else (language,)
        scores: dict[str, int] = {}
        for one in named:
            for item in self.all(one):
                score = _score(item, words)
                if score:
                    scores[item.name] = max(score, scores.get(item.name, 0))
        found = [item for item in self.all(language) if item.name in scores]
        return tuple(sorted(found, key=lambda item: (-scores[item.name], -item.search_rank, -item.usage)))

    @property
    def _has_official(self) -> bool:
        try:
            return bool(templates.languages())
        except MissingExtraError:
            return False


def of_folder(folder: Path) -> Iterator[Template]:
    """The workflows (*.json, at any depth) of a folder, by name; other JSON files are left out.

    Raises MissingFileError where the folder is not there.
    """
    if not folder.is_dir():
        raise MissingFileError(f"The library {folder} is no folder.", path=str(folder))
    for path in sorted(folder.rglob("*.json")):
        if path.is_file() and _may_be_workflow(path):
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield Template(name, path.stem.replace("_", " "), "folder", path, category=path.parent.name)


def read(template: Template) -> bytes:
    """The bytes of a workflow's file.

    Raises MissingFileError, also for one that lies on a server.
    """
    if template.path is None:
        raise MissingFileError(f"{template.name} lies on a server; it is read from there.", path=template.name)
    return read_bytes(template.path, MAX_FILE)


def fold(text: str) -> str:
    """A text without case and accents, for comparing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _may_be_workflow(path: Path) -> bool:
    try:
        data = read_bytes(path, MAX_FILE)
    except MissingFileError:
        return False
    return b'"class_type"' in data or (b'"nodes"' in data and b'"links"' in data)


def _score(item: Template, words: Iterable[str]) -> int:
    """How well a workflow fits, 0 = not: words in name or title count most, whole words more than parts."""
    best = fold(f"{item.name} {item.title}").replace("_", " ").replace("-", " ")
    good = fold(" ".join((*item.tags, *item.models, item.category)))
    rest = fold(item.description)
    score = 1
    for word in words:
        if f" {word} " in f" {best} ":
            score += 100
        elif word in best or word in fold(item.name):
            score += 60
        elif word in good:
            score += 20
        elif word in rest:
            score += 3
        else:
            return 0
    return score
