"""`comfyops models lock` and `prune`: exact states written down, and leftovers removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.model_options import (
    All,
    CatalogFiles,
    ComfyUIPath,
    Group,
    Model,
    ModelsDir,
    Names,
    Session,
    choice,
    opened,
)
from comfyops.cli.model_options import Optional as IncludeOptional
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count, in_words
from comfyops.errors import UsageError
from comfyops.models import facts, tidy
from comfyops.models import lock as locks
from comfyops.models.catalog import Wanted
from comfyops.models.check import Finding, State
from comfyops.models.entry import ModelEntry
from comfyops.models.facts import Answered
from comfyops.models.lock import Lock, Pin

_DAY = 86_400.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(lock)
    app.command()(prune)


def lock(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path(locks.NAME),
    update: Annotated[
        bool, typer.Option("--update", help="Take what the sources have now, where it is another file than before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    as_json: Json = False,
) -> Result:
    """Write down what exactly each model is: revision, bytes, SHA-256, so that `--lock FILE` has the same elsewhere.

    Sources are asked; of those that do not say a hash, the file that is here is read. Pins that the lock file holds
    already stay, unless --update. Exit code 1: of a model no hash could be had, or upstream has changed.
    """
    session = opened(comfyui_path, models_dir, catalog)
    before = locks.load(output, missing_ok=True)
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    wanted = [item for item in session.wanted(chosen) if item.required or include_optional or everything]
    pins, problems = _pins(session, wanted, before, update=update)
    if not dry_run:
        locks.save(before.with_pins(pins), output)
    lines = [f"{pin.sha256[:12] if pin.sha256 else '?':12}  {escape(key)}" for key, pin in pins.items()]
    lines += [
        f"[red]{escape(item['code'])}[/]  {escape(item['model'])}: {escape(item['message'])}" for item in problems
    ]
    data = {"file": output, "written": not dry_run, "models": pins, "problems": problems}
    words = "would be in" if dry_run else "in"
    notes = [f"{count(len(pins), 'model')} {words} {escape(str(output))}"]
    return Result("models lock", data, lines, notes, exit_code=int(bool(problems)))


def prune(
    older_than: Annotated[float, typer.Option(min=0, help="Days since a leftover was last changed.")] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it; else it is only shown.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it, as without --yes.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    as_json: Json = False,
) -> Result:
    """Remove what downloads left behind: partial files that nobody goes on with, and quarantined bytes.

    Models are never removed. Without --yes nothing is removed.
    """
    if yes and dry_run:
        raise UsageError("Give either --yes or --dry-run.")
    session = opened(comfyui_path, models_dir)
    made = tidy.plan(session.storage, older_than * _DAY)
    if yes:
        made.execute()
    lines = [f"{in_words(item.size):>9}  {escape(item.path)}" for item in made.remove]
    words = "removed" if yes else "would be removed; --yes does it"
    notes = [f"{count(len(made.remove), 'leftover')}, {in_words(made.total)}, {words}"]
    data = {"removed": yes, "bytes": made.total, "leftovers": made.remove, "kept": made.kept}
    return Result("models prune", data, lines, notes)


def _pins(
    session: Session, wanted: Sequence[Wanted], before: Lock, *, update: bool
) -> tuple[dict[str, Pin], list[dict[str, str]]]:
    """The pins of models, and what went wrong."""
    entries = [_free(item.entry) if update else before.pinned(item.entry) for item in wanted]
    asked = not session.settings.offline
    answers = facts.ask(entries, session.provision.web) if asked else tuple(Answered(entry) for entry in entries)
    here = session.provision.check([Wanted(answer.entry) for answer in answers])
    pins: dict[str, Pin] = {}
    problems: list[dict[str, str]] = []
    for answer, found in zip(answers, here, strict=True):
        key = answer.entry.id
        pin = _kept(before.pins.get(key), answer.pin) or _promised(answer.entry)
        pin = pin if pin and pin.sha256 else _from_file(session, found, pin)
        if pin is not None:
            pins[key] = pin
        problems += _problem(answer, pin)
    return pins, problems


def _kept(before: Pin | None, new: Pin | None) -> Pin | None:
    """The pin that goes on: the one there was, as long as its source still says the same."""
    same = before is not None and (new is None or (before.sha256, before.size) == (new.sha256, new.size))
    return before if same else new


def _problem(answer: Answered, pin: Pin | None) -> list[dict[str, str]]:
    """What is wrong with a pin: upstream has changed, or nobody says the hash."""
    key, error = answer.entry.id, answer.error
    if error is not None and (pin is None or not pin.sha256 or error.code == "upstream_changed"):
        return [{"model": key, "code": error.code, "message": error.message}]
    if pin is None or not pin.sha256:
        return [{"model": key, "code": "no_hash", "message": "nobody says its hash, and it is not here"}]
    return []


def _promised(entry: ModelEntry) -> Pin | None:
    """A pin of what the catalog promises, for when no source answers."""
    if entry.sha256 is None or not entry.urls:
        return None
    return Pin(entry.urls[0], entry.size, entry.sha256, said_by="catalog", at=locks.now())


def _free(entry: ModelEntry) -> ModelEntry:
    """The entry without promises, so that whatever its source has counts."""
    return replace(entry, size=None, sha256=None)


def _from_file(session: Session, found: Finding, pin: Pin | None) -> Pin | None:
    """A pin of the file that is here, where it is the one that its source speaks of."""
    if found.state not in (State.PRESENT, State.VERIFIED):
        return pin
    (read,) = session.provision.check([Wanted(found.entry)], deep=True)
    if not read.good or read.sha256 is None:
        return pin
    url = pin.url if pin else (found.entry.urls or ("",))[0]
    revision = pin.revision if pin else None
    return Pin(url, read.size, read.sha256, revision, said_by="bytes", at=locks.now())
