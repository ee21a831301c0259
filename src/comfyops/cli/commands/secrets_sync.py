"""`comfyops secrets sync`: the verbs of the documented token synchroniser."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops.auth.secrets import changing, checks, importing, private_files, rotation
from comfyops.auth.secrets.changing import Record
from comfyops.auth.secrets.checks import Finding
from comfyops.auth.secrets.model import Secret, Target
from comfyops.auth.secrets.store import Store
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count, plain
from comfyops.cli.secret_options import SecretsFile, passphrase, recording, store_of
from comfyops.cli.secret_views import finding_lines, plan_data, plan_lines, restart_notes
from comfyops.errors import SecretsError, UsageError

NAME = "comfyui"
_DOCKER = "docker-configurations/services/comfyui-qwen"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(sync)


def sync(
    unify: Annotated[
        bool, typer.Option("--unify", help="Import or make the secret where there is none, apply, then validate.")
    ] = False,
    validate: Annotated[bool, typer.Option("--validate", help="Only say whether every target is in step.")] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Validate, and look for copies at the usual places (the default).")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Also write the findings to this JSON file.")] = None,
    secrets_file: SecretsFile = None,
    as_json: Json = False,
) -> Result:
    """The documented synchroniser's verbs. Exit code 1: something is not in step, or refused; no value is printed."""
    if sum((unify, validate, audit)) > 1:
        raise UsageError("Give one of --unify, --validate and --audit.")
    store, now = store_of(secrets_file), datetime.now(UTC)
    data: dict[str, Any] = {"file": store.file, "written": []}
    lines: list[str] = []
    notes: list[str] = []
    if unify:
        with recording() as record:
            remarks = _source(store, now, record)
            done = changing.apply(store, now, record, passphrase(None))
        data["written"] = [item.target.path for item in done.written]
        lines += plan_lines(done.written)
        notes += [*(f"[yellow]{escape(item)}[/]" for item in remarks), *restart_notes(done.written)]
    found, state = _state(store, now, everything=not (unify or validate))
    bad = any(item.severity == "error" for item in found)
    data |= {**state, "findings": found}
    if report is not None:
        private_files.write(report, json.dumps(plain(data), indent=2).encode() + b"\n")
    notes.append(count(len(found), "finding"))
    return Result("secrets sync", data, [*lines, *finding_lines(found)], notes, exit_code=int(bad))


def _state(store: Store, now: datetime, *, everything: bool) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What is wrong now; with `everything` also copies that are no targets."""
    if everything and not store.exists():
        return checks.audit(store, None, now), {}
    document = store.load()
    made = store.plan(document, now)
    found = checks.findings(store, document, made, now)
    if everything:
        found += checks.audit(store, document, now)
    return found, plan_data(document, made)


def _source(store: Store, now: datetime, record: Record) -> tuple[str, ...]:
    """Make the document where there is none, unless another process does so at this moment."""
    if store.exists():
        return ()
    try:
        return _made(store, now, record)
    except SecretsError:
        if store.exists():
            return ()
        raise


def _made(store: Store, now: datetime, record: Record) -> tuple[str, ...]:
    """Make the document: of the usual files, else with a new secret and the usual targets; remarks on it."""
    files = importing.usual_files(store.root)
    if checks.audit(store, None, now)[1:]:
        return changing.take_over(store, files, NAME, now, record, passphrase(None)).remarks
    changing.create(store, Secret(NAME, "login", rotation.fresh("login"), now), record, _usual_targets(store))
    return ("a new secret was made",)


def _usual_targets(store: Store) -> tuple[Target, ...]:
    keys = {"COMFYUI_API_TOKEN": f"{NAME}.hash", "COMFYUI_RAW_TOKEN": f"{NAME}.password"}
    targets = [Target(".env", "env", keys), Target(".secrets/qwen-api-user.token", "token", {"token": f"{NAME}.hash"})]
    if (store.root / _DOCKER).is_dir():
        targets.append(Target(f"{_DOCKER}/.env", "env", {"COMFYUI_BEARER_TOKEN": f"{NAME}.hash"}))
    return tuple(targets)
