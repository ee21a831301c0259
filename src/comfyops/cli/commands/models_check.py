"""`comfyops models check`, `verify`, `health` and `where`: what is there, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands import models_watch
from comfyops.cli.model_options import (
    All,
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
    rate,
)
from comfyops.cli.model_options import Optional as IncludeOptional
from comfyops.cli.options import Json, wait_for
from comfyops.cli.output import Result, count, in_words
from comfyops.cli.stopping import hashing_shown
from comfyops.errors import UsageError
from comfyops.models import rounds
from comfyops.models.catalog import Wanted
from comfyops.models.check import Finding, State
from comfyops.models.progress_log import log_findings

_MOST_NOTES = 12

_COLOURS = {State.VERIFIED: "green", State.PRESENT: "cyan", State.MISSING: "yellow", State.MISPLACED: "yellow"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(check)
    app.command()(verify)
    app.command("health")(write_figures)
    app.command()(where)


def check(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, whatever is remembered.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    as_json: Json = False,
) -> Result:
    """Say which models are there and whether they are what they should be; nothing is fetched and nobody is asked.

    Sizes, headers and remembered hashes are compared; with --deep every byte. Exit code 1: something required is
    missing, or something is wrong.
    """
    session = opened(comfyui_path, models_dir, catalog, lock)
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    with hashing_shown(quiet=as_json) as listener:
        findings = session.provision.check(session.wanted(chosen), deep=deep, on_progress=listener)
    return checked("models check", findings, session.storage.root)


def verify(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", help="Go on for ever: daily, weekly, 6h, or five fields as cron has them."),
    ] = None,
    limit_rate: Annotated[
        str | None,
        typer.Option("--limit-rate", help="Bytes to read in a second, as 50M; with --schedule 100M if not given."),
    ] = None,
    prometheus: Annotated[
        Path | None, typer.Option("--prometheus", help="With --schedule: file of figures, such as DIR/comfyops.prom.")
    ] = None,
    print_systemd: Annotated[
        bool, typer.Option("--print-systemd", help="With --schedule: print a unit that does this, and do nothing.")
    ] = False,
    print_cron: Annotated[
        bool, typer.Option("--print-cron", help="With --schedule: print a line for cron that does this.")
    ] = False,
    as_json: Json = False,
) -> Result | None:
    """Read every byte of the models and compare it with what was promised: `check --deep`.

    How far it is is shown; Ctrl-C ends it, and what was read until then is remembered. With --schedule it goes on until
    Ctrl-C, one model after another and slowly: what changes is logged and told to the webhook of
    COMFYOPS_ALERT_WEBHOOK, what is the matter is remembered.
    """
    if schedule is None and (print_systemd or print_cron or prometheus):
        raise UsageError("--prometheus, --print-systemd and --print-cron go with --schedule.")
    session = opened(comfyui_path, models_dir, catalog, lock)
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    if schedule is not None:
        files = [f"--catalog={file.absolute()}" for file in catalog or []]
        files += [f"--lock={lock.absolute()}"] if lock else []
        plan = models_watch.planned(session, chosen, schedule, limit_rate or "100M", prometheus, files)
        if print_systemd or print_cron:
            return models_watch.printed(plan, as_cron=print_cron)
        models_watch.run(plan, as_json=as_json)
        return None
    with hashing_shown(quiet=as_json) as listener:
        wanted, most = session.wanted(chosen), rate(limit_rate) if limit_rate else None
        findings = session.provision.check(wanted, deep=True, on_progress=listener, rate=most)
    return checked("models verify", findings, session.storage.root)


def write_figures(
    names: Names = None,
    prometheus: Annotated[
        Path | None, typer.Option("--prometheus", help="File to write, such as DIR/comfyops.prom.")
    ] = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, whatever is remembered.")] = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    as_json: Json = False,
) -> Result:
    """Check the models once, tell what has changed since the last time, and write figures for Prometheus.

    Run it by cron or a timer: what changes is logged and told to the webhook of COMFYOPS_ALERT_WEBHOOK; the figures are
    for node_exporter's textfile collector. The exit code is that of `check`.
    """
    session = opened(comfyui_path, models_dir, catalog, lock)
    wanted = session.wanted(choice(names, model, group, everything=everything, optional=include_optional))
    watched = parts.model_health(session.provision, wanted, session.settings, figures=prometheus)
    findings = watched.look(deep=deep)
    wait_for(rounds.deliver(watched))
    return checked("models health", findings, session.storage.root)


def where(
    names: Names = None,
    model: Model = None,
    group: Group = None,
    everything: All = False,
    include_optional: IncludeOptional = False,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    catalog: CatalogFiles = None,
    lock: LockFile = None,
    as_json: Json = False,
) -> Result:
    """Say where models lie, or where they belong. Exit code 1: one that was named, or is required, is not there.

    A name that several models have is there as soon as one of them is.
    """
    chosen = choice(names, model, group, everything=everything, optional=include_optional)
    if not (chosen.models or chosen.groups or everything or lock):
        raise UsageError("No model is named.", hint="Give a name, --group, --all or --lock.")
    session = opened(comfyui_path, models_dir, catalog, lock)
    found = [_place(session, item) for item in session.wanted(chosen)]
    lines = [escape(str(item["path"])) for item in found]
    absent = [escape(str(item["path"])) for item in found if not item["there"]]
    notes = [f"[yellow]not there[/]: {path}" for path in absent]
    if len(absent) > _MOST_NOTES:
        notes = [f"{len(absent)} of {count(len(found), 'model')} not there"]
    there = {str(item["model"]) for item in found if item["there"]}
    named = [{entry.id for entry in session.catalog.find(text)} for text in chosen.models]
    needed = {str(item["model"]) for item in found if item["required"]}.difference(*named)
    whole = all(ids & there for ids in named) and needed <= there
    return Result("models where", found, lines, notes, exit_code=int(not whole))


def _place(session: Session, item: Wanted) -> dict[str, object]:
    there = session.storage.locate(item.entry)
    path = there or session.storage.target(item.entry)
    return {"model": item.entry.id, "path": str(path), "there": there is not None, "required": item.required}


def checked(command: str, findings: Sequence[Finding], root: Path) -> Result:
    """The result of a check, which is logged."""
    log_findings(findings)
    bad = [item for item in findings if item.bad]
    good = [item for item in findings if item.good]
    data = {
        "root": root,
        "ok": not bad,
        "counts": {state.value: sum(item.state is state for item in findings) for state in State},
        "models": [_data(item) for item in findings],
    }
    words = "all that is required is there" if not bad else f"{count(len(bad), 'problem')}"
    notes = [f"{count(len(good), 'model')} of {len(findings)} there, {words} ({escape(str(root))})"]
    if any(item.state is State.MISSING for item in bad):
        notes.append("Fetch what is missing with `comfyops models download`.")
    return Result(command, data, lines(findings), notes, exit_code=int(bool(bad)))


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """One line per model."""
    for item in findings:
        optional = item.state is State.MISSING and not item.required
        colour = "dim" if optional else _COLOURS.get(item.state, "red")
        size = item.size if item.size is not None else item.entry.size
        words = "optional" if optional else item.state.value
        why = f"  [dim]{escape(item.why)}[/]" if item.why else ""
        shown = in_words(size) if size is not None else "?"
        yield f"[{colour}]{words:10}[/] {shown:>9}  {escape(item.entry.id)}{why}"


def _data(item: Finding) -> dict[str, object]:
    entry = item.entry
    return {
        "model": entry.id,
        "folder": entry.folder,
        "file": entry.file,
        "state": item.state.value,
        "required": item.required,
        "path": item.path,
        "size": item.size,
        "expected_size": entry.size,
        "sha256": item.sha256,
        "expected_sha256": entry.sha256,
        "why": item.why,
    }
