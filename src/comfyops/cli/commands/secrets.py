"""`comfyops secrets`: one source of truth for secrets, and the files that must agree with it."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth.secrets import changing, checks, model, rotation
from comfyops.auth.secrets.changing import Changed
from comfyops.auth.secrets.model import Secret
from comfyops.auth.secrets.store import Store
from comfyops.cli.commands import secrets_backup, secrets_import, secrets_scan, secrets_sync
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count
from comfyops.cli.secret_options import SecretsFile, passphrase, recording, store_of
from comfyops.cli.secret_views import finding_lines, plan_data, plan_lines, restart_notes, target_data
from comfyops.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keep secrets and their files in step.")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 3600}


@app.callback()
def secrets() -> None:
    """Keep one document of secrets and every file that needs them in step; no command ever prints a value."""


@app.command()
def plan(secrets_file: SecretsFile = None, as_json: Json = False) -> Result:
    """Show what `apply` would change: keys, and short fingerprints that tell values apart.

    Exit code 1: a target cannot be understood, so that nothing can be planned for it.
    """
    store, now = store_of(secrets_file), datetime.now(UTC)
    document = rotation.finished(store.load(), None, now)
    made = store.plan(document, now)
    unclear = any(item.problem for item in made.targets)
    done = "`comfyops secrets apply` does it" if not unclear else "nothing can be applied as it is"
    notes = [done if made.drift else "every target is in step"]
    data = {"file": store.file, **plan_data(document, made)}
    return Result("secrets plan", data, plan_lines(made.targets), notes, exit_code=int(unclear))


@app.command()
def apply(secrets_file: SecretsFile = None, as_json: Json = False) -> Result:
    """Bring every target in step: only what differs is written, each file whole or not at all, after a backup.

    Old values whose window is over are dropped. Doing it twice changes nothing.
    """
    store = store_of(secrets_file)
    with recording() as record:
        done = changing.apply(store, datetime.now(UTC), record, passphrase(None))
    return _changed("secrets apply", store, done)


@app.command()
def check(secrets_file: SecretsFile = None, as_json: Json = False) -> Result:
    """Say whether all is well: drift, weak or published values, permissions, files that git has or would take.

    Exit code 1: something is not; warnings alone do not count.
    """
    store, now = store_of(secrets_file), datetime.now(UTC)
    document = store.load()
    made = store.plan(document, now)
    found = checks.findings(store, document, made, now)
    bad = any(item.severity == "error" for item in found)
    data = {"file": store.file, **plan_data(document, made), "findings": found}
    words = f"{count(len(document.targets), 'target')}, {count(len(found), 'finding')}"
    return Result("secrets check", data, finding_lines(found), [words], exit_code=int(bad))


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="Name of the secret.")] = "comfyui",
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long the old value stays as NAME.previous, such as 30m, 24h or 7d.")
    ] = "24h",
    finish: Annotated[bool, typer.Option("--finish", help="End the window of the last rotation now.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Make a secret that is not there yet.")] = False,
    kind: Annotated[str, typer.Option("--kind", help="With --create: token, or login (password and hash).")] = "login",
    username: Annotated[str | None, typer.Option("--username", help="With --create: the login's user name.")] = None,
    value_stdin: Annotated[
        bool, typer.Option("--value-stdin", help="Read the new token or password from stdin, else it is random.")
    ] = False,
    secrets_file: SecretsFile = None,
    as_json: Json = False,
) -> Result:
    """Give a secret a new value and bring every target in step.

    Within --overlap the old value is what references to NAME.previous stand for, so that a server can accept both
    until every client has the new one; `apply` removes it afterwards.
    """
    if sum((finish, create)) > 1:
        raise UsageError("Give either --finish or --create.")
    store, now = store_of(secrets_file), datetime.now(UTC)
    value = _from_stdin() if value_stdin else None
    window, words = _duration(overlap), passphrase(None)
    with recording() as record:
        if finish:
            done = changing.finish(store, name, now, record, words)
        elif create:
            secret = Secret(model.check_name(name), kind, rotation.fresh(kind, value, username), now)
            changing.create(store, secret, record)
            done = changing.apply(store, now, record, words)
        else:
            done = changing.rotate(store, name, now, record, overlap=window, value=value, passphrase=words)
    return _changed("secrets rotate", store, done)


def _changed(command: str, store: Store, done: Changed) -> Result:
    windows = {secret.name: secret.previous_until for secret in done.document.secrets.values() if secret.previous_until}
    data = {
        "file": store.file,
        "revision": done.document.revision,
        "written": [target_data(item) for item in done.written],
        "backup": done.backup,
        "old_valid_until": {name: until.isoformat() for name, until in windows.items()},
    }
    notes = [f"{count(len(done.written), 'file')} written" if done.written else "nothing to change"]
    notes += [f"backup: {escape(str(done.backup))}"] if done.backup else []
    notes += [f"the old value of {name} is valid until {until:%Y-%m-%d %H:%M} UTC" for name, until in windows.items()]
    return Result(command, data, plan_lines(done.written), [*notes, *restart_notes(done.written)])


def _from_stdin() -> str:
    text = b"" if sys.stdin is None else sys.stdin.buffer.read(4097)  # None: it was closed
    try:
        value = text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("The value on stdin is not text in UTF-8.") from None
    if not value or len(text) > 4096:
        raise UsageError("The value on stdin is empty or longer than 4096 bytes.")
    return value


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd]?)", text.strip())
    if found is None:
        raise UsageError("--overlap is not a time such as 30m, 24h or 7d.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


for module in (secrets_import, secrets_sync, secrets_backup, secrets_scan):
    module.register(app)
