"""`comfyops models import`: files that a person has, put in place, and lists of models that other tools keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.model_options import AllowPickle, CatalogFiles, ComfyUIPath, ModelsDir, Session, opened
from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result, count
from comfyops.errors import (
    ComfyOpsError,
    MissingFileError,
    ModelError,
    StorageError,
    UnknownModelError,
    UnsafeNameError,
    UsageError,
)
from comfyops.models import importing, lists, user_catalog
from comfyops.models.catalog import Catalog
from comfyops.models.entry import ENDINGS, ModelEntry
from comfyops.models.hashing import hash_file
from comfyops.models.stamps import Stamps

_HOW = {True: "linked", False: "copied"}


def take(
    paths: Annotated[list[Path], typer.Argument(help="Model files, folders of them, or lists of models.")],
    as_model: Annotated[str | None, typer.Option("--as", help="The model that a file is, where only you know.")] = None,
    allow_pickle: AllowPickle = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be taken, and change nothing.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    as_json: Json = False,
) -> Result:
    """Put model files that you have where they belong, or take the models of a list into your own catalog.

    Files are known by their SHA-256, linked where the disk allows it, else copied; they stay where they are. Lists are
    links in a text (models_links.txt), comfy-lock.yaml and comfy-pack's manifest. Exit code 1: something was not taken.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise MissingFileError(f"{missing[0]} does not exist.", path=str(missing[0]))
    models = [path for path in _files(paths) if path.suffix.lower() in ENDINGS - {".yaml", ".json"}]
    if as_model and len(models) != 1:
        raise UsageError(f"--as goes with one model file, not with {len(models)}.")
    lists_given = [path for path in paths if path.is_file() and path not in models]
    entries, unread = _read(lists_given, catalog, keep=not dry_run)
    taken = _Taken()
    if models:
        session = opened(comfyui_path, models_dir, catalog, allow_pickle=allow_pickle)
        taken = _placed(session, models, as_model, pickles=allow_pickle, only_shown=dry_run)
    if taken.refused and len(models) + len(lists_given) == 1:
        raise taken.refused[0][1]
    return _imported(entries, unread, taken, only_shown=dry_run)


@dataclass(frozen=True)
class _Taken:
    """What became of model files: put in place, not known to any catalog, refused (file and reason)."""

    placed: list[importing.Placed] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[tuple[str, ComfyOpsError]] = field(default_factory=list)


def _imported(entries: list[ModelEntry], unread: list[str], taken: _Taken, *, only_shown: bool) -> Result:
    how = {True: "as it would be", False: "as it would be"} if only_shown else _HOW
    lines = [
        *(f"[green]listed[/]  {escape(entry.id)}" for entry in entries),
        *(f"[green]{how[item.linked]}[/]  {escape(item.entry.id)} -> {escape(item.path)}" for item in taken.placed),
        *(f"[yellow]not known[/]  {escape(item)}" for item in taken.unknown),
        *(f"[red]not taken[/]  {escape(path)}: {escape(error.message)}" for path, error in taken.refused),
        *(f"[yellow]not read[/]  {escape(item)}" for item in unread),
    ]
    data = {
        "dry_run": only_shown,
        "listed": [entry.id for entry in entries],
        "placed": [{"model": item.entry.id, "path": item.path, "sha256": item.sha256} for item in taken.placed],
        "unknown": taken.unknown,
        "refused": [{"path": path, "code": error.code, "message": error.message} for path, error in taken.refused],
        "unread": unread,
    }
    words = "would be listed" if only_shown else "listed"
    notes = [f"{count(len(entries), 'model')} {words}, {count(len(taken.placed), 'file')} put in place"]
    if only_shown:
        notes[0] += " if --dry-run were not given"
    return Result("models import", data, lines, notes, exit_code=int(bool(taken.unknown or taken.refused or unread)))


def _read(files: list[Path], catalog: list[Path] | None, *, keep: bool) -> tuple[list[ModelEntry], list[str]]:
    """The models of lists, now in the person's own catalog with `keep`, and what could not be taken."""
    chosen = settings()
    known = parts.model_catalog(chosen, catalog or ()) if files else Catalog()
    read = [lists.read(path, known) for path in files]
    entries = [entry for item in read for entry in item.models]
    if entries and keep:
        user_catalog.add(chosen.home.expanduser() / user_catalog.NAME, entries)
    return entries, [f"{entry.what}: {entry.why}" for item in read for entry in item.unread]


def _placed(session: Session, files: list[Path], as_model: str | None, *, pickles: bool, only_shown: bool) -> _Taken:
    """Put files in their places, or with `only_shown` say where they would be; one that is refused stops no other."""
    stamps = session.provision.stamps
    taken = _Taken()
    for path in files:
        try:
            entry = _one(session.catalog, as_model) if as_model else None
            digest = _hashed(path, stamps)
            entry = entry or importing.match(path, digest, session.catalog.models.values())
            if entry is None:
                taken.unknown.append(str(path))
            elif only_shown:
                target = str(session.storage.target(entry))
                taken.placed.append(importing.Placed(entry, str(path), target, path.stat().st_size, digest, True))
            else:
                taken.placed.append(importing.place(path, entry, session.storage, stamps, allow_pickle=pickles))
        except (ModelError, StorageError, MissingFileError, UnsafeNameError) as error:
            taken.refused.append((str(path), error))
    stamps.save()
    return taken


def _hashed(path: Path, stamps: Stamps) -> str:
    try:
        return stamps.hash_of(path.absolute(), path.stat()) or hash_file(path)[0]
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read.", path=str(path)) from error


def _one(catalog: Catalog, name: str) -> ModelEntry:
    found = catalog.find(name)
    if len(found) > 1:
        names = ", ".join(entry.id for entry in found)
        raise UnknownModelError(f"{name!r} may be {names}.", hint="Give folder and file.")
    return found[0]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else (path,)
