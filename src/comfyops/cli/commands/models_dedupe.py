"""`comfyops models dedupe`: equal model files become links to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli.model_options import ComfyUIPath, ModelsDir, opened
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count, in_words
from comfyops.errors import MissingFileError, UsageError
from comfyops.models import places, stamps, store
from comfyops.models.store import Deduped, DedupePlan, Way


def run(
    folders: Annotated[
        list[str] | None, typer.Argument(help="Models folders to look through besides, of other installations.")
    ] = None,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    store_dir: Annotated[
        Path | None, typer.Option("--store", help="Folder that keeps one file of each content, named by its SHA-256.")
    ] = None,
    symbolic: Annotated[
        bool, typer.Option("--symbolic", help="Symbolic links, which reach over disks, instead of hard ones.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this the saving is shown.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the saving, as without --apply.")] = False,
    as_json: Json = False,
) -> Result:
    """Show how much space equal model files take, and with --apply make them links to one of them."""
    if apply and dry_run:
        raise UsageError("Give either --apply or --dry-run.")
    storage = opened(comfyui_path, models_dir).storage
    roots = [*storage.roots(), *map(_folder, [str(storage.root), *(folders or [])])]
    memory = stamps.load(storage.stamps)
    way = Way.SYMBOLIC if symbolic else Way.HARD
    unreadable: list[str] = []
    found = store.files_of(roots, unreadable)
    plan = store.plan(found, memory, way, places.local_path(store_dir) if store_dir else None)
    plan = replace(plan, unreadable=(*unreadable, *plan.unreadable))
    done = store.apply(plan, memory) if apply else None
    memory.save()
    data = {"applied": apply, "saving_bytes": plan.saving, "plan": plan, "done": done}
    bad = bool(done and done.failed) or bool(plan.unreadable)
    return Result("models dedupe", data, _lines(plan), _notes(plan, done), exit_code=1 if bad else 0)


def _folder(text: str) -> Path:
    path = places.local_path(text)
    if not path.is_dir():
        raise MissingFileError(f"{text} is no folder.", path=text)
    return path


def _lines(plan: DedupePlan) -> Iterator[str]:
    for link in plan.links:
        size = in_words(link.freed) if link.freed else "0 B"
        yield f"{size.rjust(9)}  {escape(str(link.copy.path))} [dim]->[/] {escape(str(link.target))}"


def _notes(plan: DedupePlan, done: Deduped | None) -> Iterator[str]:
    yield from (f"[yellow]not readable[/]: {escape(path)}" for path in plan.unreadable)
    if done is None:
        what = f"{count(len(plan.links), 'file')} could become links, which frees {in_words(plan.saving)}"
        yield what + (" (--apply does it)" if plan.links else "")
        return
    yield from (f"[red]left as it is[/]: {escape(str(path))}: {escape(why)}" for path, why in done.failed)
    yield f"{count(len(done.linked), 'file')} became links, which freed {in_words(done.freed)}"
