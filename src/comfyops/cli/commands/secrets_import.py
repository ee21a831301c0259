"""`comfyops secrets import`: what older tools left, into the document."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.auth.secrets import changing, importing
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count
from comfyops.cli.secret_options import SecretsFile, passphrase, recording, store_of
from comfyops.errors import MissingFileError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("import")(import_files)


def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="comfyui_auth_tokens.conf, PASSWORD, *.token or .env files; else the usual ones."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the secret in the document.")] = "comfyui",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a secret of this name.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Take only the targets and make a new secret, as for a published one.")
    ] = False,
    secrets_file: SecretsFile = None,
    as_json: Json = False,
) -> Result:
    """Read the documented files of secrets and make the document of them; the files stay as they are until `apply`.

    What files disagree on, and what is weak, invalid or published, is refused.
    """
    store = store_of(secrets_file)
    chosen = tuple(files or importing.usual_files(store.root))
    if not chosen:
        hint = "Name the files, or make a new secret with `comfyops secrets sync --unify`."
        raise MissingFileError(f"None of the usual files of secrets lies below {store.root}.", hint=hint)
    now = datetime.now(UTC)
    words = passphrase(None)
    with recording() as record:
        made = changing.take_over(store, chosen, name, now, record, words, replace=replace, fresh=fresh)
    targets = [{"path": item.path, "format": item.format, "keys": item.keys} for item in made.document.targets]
    data = {
        "file": store.file,
        "revision": made.document.revision,
        "read": [{"path": path, "kind": kind} for path, kind in made.read],
        "targets": targets,
        "remarks": made.remarks,
    }
    lines = [f"{escape(str(path))} [dim]({kind})[/]" for path, kind in made.read]
    notes = [f"{count(len(targets), 'target')} in {escape(str(store.file))}; see them with `comfyops secrets plan`"]
    return Result("secrets import", data, lines, [*notes, *(f"[yellow]{escape(item)}[/]" for item in made.remarks)])
