"""`comfyops models plan` and `download`: what is missing, what it takes, and having it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands import models_downloads
from comfyops.cli.commands.models_check import checked
from comfyops.cli.commands.models_lines import (
    blocked_lines,
    outcome_data,
    outcome_lines,
    plan_data,
    plan_lines,
    step_lines,
    summary,
)
from comfyops.cli.model_options import (
    All,
    AllowPickle,
    CatalogFiles,
    ComfyUIPath,
    Group,
    LockFile,
    Model,
    ModelsDir,
    Names,
    Session,
    choice,
    opened,
)
from comfyops.cli.model_options import Optional as IncludeOptional
from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result, count, say
from comfyops.cli.running_downloads import brought
from comfyops.cli.stopping import hashing_shown
from comfyops.errors import UsageError
from comfyops.models import facts, manager
from comfyops.models import manual as by_hand
from comfyops.models.catalog import Catalog, Choice, Wanted
from comfyops.models.check import Finding
from comfyops.models.entry import merged, parse, written
from comfyops.models.plan import Plan
from comfyops.models.plan import wanted as to_do

Force = Annotated[
    bool,
    typer.Option(
        "--force", "--force-download", help="Read every byte first, and fetch anew what cannot be proven to be right."
    ),
]


@dataclass(frozen=True)
class _Run:
    """How a download is to be done; `place` is what another process needs to go on with it."""

    quiet: bool
    place: Mapping[str, Any]
    priorities: Mapping[str, int]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(models_downloads.app, name="downloads")
    app.command()(plan)
    app.command()(download)


def plan(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="What this command does anyway.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    as_json: Json = False,
) -> Result:
    """Show what `download` would fetch: files, sizes, addresses and places; sources are asked for what is not known.

    Exit code 1: something required cannot be had.
    """
    session = opened(comfyui_path, models_dir, catalog, lock)
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    findings = session.provision.check(session.wanted(chosen), deep=force)
    made = session.provision.plan(findings, force=force, ask=not session.settings.offline)
    return _planned("models plan", made)


def download(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    check_only: Annotated[bool, typer.Option("--check-only", help="Check, and fetch nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be fetched, and fetch nothing.")] = False,
    manual: Annotated[
        bool, typer.Option("--manual", help="Show addresses and places, and wait until the files have come.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="With --manual and --via-manager: seconds to wait; 0 only shows.")
    ] = 86400.0,
    url: Annotated[
        str | None, typer.Option("--url", help="With --folder: a model that no catalog need have, by its address.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", "--relative-path", help="With --url: where it belongs, such as loras.")
    ] = None,
    filename: Annotated[
        str | None, typer.Option("--filename", "--file", help="With --url: the name of its file; else the source's.")
    ] = None,
    via_manager: Annotated[
        str | None, typer.Option("--via-manager", help="Address of a ComfyUI whose ComfyUI-Manager fetches the models.")
    ] = None,
    force: Force = False,
    max_workers: Annotated[int | None, typer.Option(min=1, max=64, help="Connections at once.")] = None,
    limit_rate: Annotated[str | None, typer.Option("--limit-rate", help="Bytes per second, as 500K or 10M.")] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option("--priority", metavar="MODEL=NUMBER", help="Fetch a model earlier (1, 2 ...) or later (-1 ...)."),
    ] = None,
    allow_pickle: AllowPickle = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Json = False,
) -> Result:
    """Fetch the models that are missing or wrong, verify every byte, and put them where they belong.

    What was fetched before is kept and not fetched twice, also after a crash. `comfyops models downloads` shows and
    steers it from another terminal, and goes on with what was stopped. Exit code 1: something required is not there
    afterwards.
    """
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    if url is None and (folder is not None or filename is not None):
        raise UsageError("--folder and --filename go with --url.")
    if via_manager is not None:
        if url is not None:
            raise UsageError("--url does not go with --via-manager; add the model with `comfyops models add` first.")
        return _remotely(via_manager, chosen, catalog, wait, only_shown=check_only or dry_run)
    session = opened(
        *(comfyui_path, models_dir, catalog, lock),
        allow_pickle=allow_pickle,
        max_workers=max_workers,
        limit_rate=limit_rate,
    )
    if url is not None:
        session, chosen = _with_address(session, chosen, url, folder, filename)
    priorities = _priorities(priority or (), session)
    with hashing_shown(quiet=quiet or as_json) as reading:
        findings = session.provision.check(session.wanted(chosen), deep=force, on_progress=reading)
    if check_only:
        return checked("models download", findings, session.storage.root)
    if manual:
        return _by_hand(session, findings, 0.0 if dry_run else wait, quiet=quiet or as_json)
    made = session.provision.plan(findings, force=force, ask=not session.settings.offline)
    if dry_run:
        return _planned("models download", made)
    own = {"allow_pickle": allow_pickle, "max_workers": max_workers, "limit_rate": limit_rate}
    return _fetched(session, made, _Run(quiet or as_json, {**_place(session), **own}, priorities))


def _place(session: Session) -> dict[str, str]:
    """The models folder, in words that `opened` takes."""
    root = session.storage.root.absolute()
    return {"models_dir": str(root)} if session.settings.models_dir is not None else {"comfyui_path": str(root.parent)}


def _with_address(
    session: Session, chosen: Choice, url: str, folder: str | None, filename: str | None
) -> tuple[Session, Choice]:
    """A session that knows the model at an address too, and the choice with it.

    Raises UsageError, and what `facts.of_address` raises.
    """
    if not folder:
        raise UsageError("--url goes with --folder, which says where the model belongs.")
    place, _, below = folder.replace("\\", "/").strip("/").removeprefix("models/").partition("/")
    web = None if session.settings.offline else session.provision.web
    entry = facts.of_address(url, place, web, file=filename)
    if below:
        entry = parse({**written(entry), "file": f"{below}/{entry.file}"}, "the model")
    known = session.catalog.models.get(entry.id)
    if known is not None and entry.contradicts(known.size, known.sha256):
        words = f"{entry.id} is another file in the catalogs than the one at this address."
        raise UsageError(words, hint="Give it another name with --filename.")
    models = {**session.catalog.models, entry.id: merged(entry, known) if known else entry}
    catalog = Catalog(models, session.catalog.groups)
    return replace(session, catalog=catalog), replace(chosen, models=(*chosen.models, entry.id))


def _priorities(texts: Sequence[str], session: Session) -> dict[str, int]:
    """What --priority says, by the models' ids. Raises UsageError, UnknownModelError."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.lstrip("-").isdecimal():
            raise UsageError(f"{text[:80]!r} is no priority.", hint="It looks like t5xxl_fp16=1.")
        found |= {entry.id: int(number) for entry in session.catalog.find(name)}
    return found


def _fetched(session: Session, made: Plan, run: _Run) -> Result:
    if made.fetch and not run.quiet:
        say(summary(made))
    home = session.settings.home.expanduser()
    outcomes = brought(
        session.provision, made.fetch, home=home, place=run.place, priorities=run.priorities, quiet=run.quiet
    )
    failed = [item for item in outcomes if not item.ok]
    blocked = [item for item in made.blocked if item.required]
    data = {**plan_data(made), "outcomes": [outcome_data(item) for item in outcomes]}
    notes = [f"{count(sum(item.ok for item in outcomes), 'model')} put in place, {len(made.good)} there before"]
    if made.optional:
        notes.append(f"{count(len(made.optional), 'optional model')} left out; --include-optional takes them too")
    lines = [*outcome_lines(outcomes), *blocked_lines(made)]
    return Result("models download", data, lines, notes, exit_code=int(bool(failed or blocked)))


def _remotely(
    server: str, chosen: Choice, catalog: list[Path] | None, wait: float, *, only_shown: bool = False
) -> Result:
    """Have a server's ComfyUI-Manager fetch what is required. Raises UsageError where nothing is to be fetched."""
    if only_shown:
        raise UsageError("--check-only and --dry-run do not go with --via-manager, which fetches.")
    config = settings(server=server)
    wanted = [item.entry for item in parts.model_catalog(config, catalog or ()).chosen(chosen) if item.required]
    handled = manager.find(config.server, parts.server_web(config)).install(wanted, wait)
    lines = [
        f"[green]there[/]       {escape(item.entry.id)}"
        if item.there
        else f"[red]not there[/]   {escape(item.entry.id)}: {escape(item.why)}"
        for item in handled
    ]
    data = {
        "server": config.server,
        "models": [{"model": item.entry.id, "there": item.there, "why": item.why} for item in handled],
    }
    notes = ["What ComfyUI-Manager fetches is not verified by a hash."]
    return Result("models download", data, lines, notes, exit_code=int(not all(item.there for item in handled)))


def _by_hand(session: Session, findings: Sequence[Finding], wait: float, *, quiet: bool) -> Result:
    entries = [item.entry for item in to_do(findings)]
    steps = by_hand.steps(entries, session.storage)
    if not quiet:
        say(*step_lines(steps))
    seen = []
    for step in by_hand.arrivals(steps, wait):
        seen.append(step)
        if not quiet:
            say(f"[green]come[/]: {escape(step.path)}")
    session.provision.check([Wanted(step.entry) for step in seen], deep=True)
    after = session.provision.check([Wanted(item.entry, item.required) for item in findings])
    result = checked("models download", after, session.storage.root)
    data = {**result.data, "by_hand": [{"model": s.entry.id, "urls": s.urls, "path": s.path} for s in steps]}
    return Result("models download", data, result.lines, result.notes, result.exit_code)


def _planned(command: str, made: Plan) -> Result:
    lines = [*plan_lines(made), *blocked_lines(made)]
    bad = any(item.required for item in made.blocked)
    return Result(command, plan_data(made), lines, [summary(made)], exit_code=int(bad))
