"""`comfyops secrets backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth.secrets import backups, changing, private_files
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count
from comfyops.cli.secret_options import PassphraseFile, SecretsFile, passphrase, recording, store_of
from comfyops.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backup)
    app.command()(restore)


def backup(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write, else a new one beside the document.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    secrets_file: SecretsFile = None,
    as_json: Json = False,
) -> Result:
    """Copy the document and every target into one file of mode 0600, encrypted where there is a passphrase."""
    store = store_of(secrets_file)
    words = passphrase(passphrase_file)
    if output is not None and private_files.look(output).data is not None:
        raise UsageError(f"{output} is there already.", hint="Choose another name for the backup.")
    path = changing.backup(store, words, output)
    data = {"path": path, "encrypted": words is not None, "bytes": path.stat().st_size}
    notes = [] if words else ["[yellow]not encrypted[/]: only its mode 0600 guards it; --passphrase-file encrypts"]
    return Result("secrets backup", data, [escape(str(path))], notes)


def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup, else the newest beside the document.")] = None,
    passphrase_file: PassphraseFile = None,
    outside: Annotated[
        bool, typer.Option("--outside", help="Also restore targets that lie outside of the document's root.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only open the backup and list what it holds.")] = False,
    secrets_file: SecretsFile = None,
    as_json: Json = False,
) -> Result:
    """Put the document and its targets back, byte for byte, after a backup of what is there now."""
    store = store_of(secrets_file)
    words = passphrase(passphrase_file)
    chosen = file or backups.newest(store)
    if dry_run:
        held = [item.path or str(store.file) for item in backups.read(chosen, words)]
        lines = [escape(path) for path in held]
        return Result("secrets restore", {"backup": chosen, "restored": False, "files": held}, lines)
    with recording() as record:
        written = changing.restore(store, chosen, words, record, outside=outside)
    data = {"backup": chosen, "restored": True, "files": written}
    return Result("secrets restore", data, [escape(str(path)) for path in written], [count(len(written), "file")])
