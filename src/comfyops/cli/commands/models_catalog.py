"""`comfyops models ls`, `search`, `add` and `remove`: what the catalogs know, and what a person adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.model_options import (
    CatalogFiles,
    Group,
    opened,
)
from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result, count, in_words
from comfyops.models import facts, user_catalog
from comfyops.models.catalog import Catalog
from comfyops.models.entry import ModelEntry, written
from comfyops.models.folders import canonical
from comfyops.models.storage import Storage

Folder = Annotated[str | None, typer.Option("--folder", help="Only this folder, such as loras.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ls")(ls)
    app.command()(search)
    app.command()(add)
    app.command()(remove)


def ls(
    groups: Annotated[bool, typer.Option("--groups", help="List the sets of models instead.")] = False,
    group: Group = None,
    folder: Folder = None,
    comfyui_path: Annotated[
        str | None, typer.Option("--comfyui-path", help="Folder of ComfyUI: say which models are there.")
    ] = None,
    models_dir: Annotated[
        str | None, typer.Option("--models-dir", help="Folder of models: say which models are there.")
    ] = None,
    catalog: CatalogFiles = None,
    as_json: Json = False,
) -> Result:
    """List the models of the catalogs: size, licence, groups; with a folder also whether they are there."""
    if comfyui_path is None and models_dir is None:
        known, storage = parts.model_catalog(settings(), catalog or ()), None
    else:
        session = opened(comfyui_path, models_dir, catalog)
        known, storage = session.catalog, session.storage
    if groups:
        return _groups(known)
    return _listed("models ls", _narrowed(known.models.values(), known, group, folder), storage)


def _narrowed(
    entries: Iterable[ModelEntry], known: Catalog, groups: list[str] | None, folder: str | None
) -> list[ModelEntry]:
    """Those of the entries that are of any of the groups, and of the folder. Raises UnknownModelError."""
    members = {item.entry.id for name in groups or () for item in known.members(name)}
    named = canonical(folder.lower()) if folder else None
    return [item for item in entries if (not groups or item.id in members) and named in (None, item.folder)]


def search(
    text: Annotated[list[str], typer.Argument(help="Words that name, folder, group or note must hold.")],
    group: Group = None,
    folder: Folder = None,
    catalog: CatalogFiles = None,
    as_json: Json = False,
) -> Result:
    """Find models of the catalogs by words."""
    known = parts.model_catalog(settings(), catalog or ())
    found = known.search(" ".join(text))
    if not found:
        known.find(" ".join(text))  # which names the nearest ones
    return _listed("models search", _narrowed(found, known, group, folder))


def add(
    url: Annotated[
        str, typer.Argument(help="Address of the file: Hugging Face, Civitai, https, s3://, gs://, az://, file:///.")
    ],
    folder: Annotated[str, typer.Option("--folder", help="Folder that it belongs in, such as loras.")],
    file: Annotated[str | None, typer.Option("--file", help="Name of the file; else the source's.")] = None,
    size: Annotated[int | None, typer.Option(min=0, help="Bytes that it must have.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="Hash that it must have.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="Set that requires it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the entry, and keep nothing.")] = False,
    as_json: Json = False,
) -> Result:
    """Add a model to your own catalog; its source is asked for name, size and hash where you do not give them.

    Nothing is fetched: `comfyops models download NAME` does that.
    """
    chosen = settings()
    web = None if chosen.offline else parts.model_web(chosen)
    entry = facts.of_address(url, folder, web, file=file, size=size, sha256=sha256, groups=group or ())
    own = chosen.home.expanduser() / user_catalog.NAME
    if not dry_run:
        user_catalog.add(own, [entry])
    words = "would be added to" if dry_run else "added to"
    return Result("models add", written(entry), [escape(entry.id)], [f"{words} {escape(str(own))}"])


def remove(
    name: Annotated[str, typer.Argument(help="A model of your own catalog.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be dropped, and keep it.")] = False,
    as_json: Json = False,
) -> Result:
    """Drop a model from your own catalog; no file is deleted."""
    own = settings().home.expanduser() / user_catalog.NAME
    gone = user_catalog.remove(own, name, only_shown=dry_run)
    words = "would be dropped from" if dry_run else "dropped from"
    notes = [f"{words} {escape(str(own))}"]
    return Result("models remove", [item.id for item in gone], [escape(item.id) for item in gone], notes)


def _listed(command: str, entries: Iterable[ModelEntry], storage: Storage | None = None) -> Result:
    entries = list(entries)
    there = {item.id: storage.locate(item) is not None for item in entries} if storage else {}
    data = [
        {
            **written(item),
            "id": item.id,
            "name": item.name,
            "vram_class": item.vram_class,
            **({"there": there[item.id]} if there else {}),
        }
        for item in entries
    ]
    unknown = sum(item.sha256 is None for item in entries)
    notes = [f"{count(len(entries), 'model')}; of {unknown} nobody here knows the hash, the source is asked"]
    if storage:
        notes.append(f"{sum(there.values())} of them are in {escape(str(storage.root))}")
    return Result(command, data, _lines(entries, there), notes)


def _lines(entries: Iterable[ModelEntry], there: Mapping[str, bool]) -> Iterator[str]:
    for item in entries:
        size = in_words(item.size) if item.size is not None else "?"
        marks = [item.licence or "", "gated" if item.gated else "", "there" if there.get(item.id) else ""]
        yield f"{size:>9}  {escape(item.id)}  [dim]{escape(', '.join(filter(None, marks)))}[/]"


def _groups(known: Catalog) -> Result:
    data = [
        {
            "group": group.name,
            "title": group.title,
            "required": [item.entry.id for item in known.members(group.name) if item.required],
            "optional": [item.entry.id for item in known.members(group.name) if not item.required],
        }
        for group in known.groups.values()
        if group.name in known.all_groups
    ]
    lines = [f"{escape(group.name):22}  {escape(group.title)}" for group in known.groups.values()]
    notes = [f"{count(len(data), 'set')}; any official template's name is one too"]
    return Result("models ls", data, lines, notes)
