"""`comfyops secrets scan`: is there a secret in files that should hold none?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops.auth.secrets import scanning
from comfyops.cli.options import Json
from comfyops.cli.output import Result, count


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scan)


def scan(
    folder: Annotated[Path, typer.Argument(help="Folder to look through.")] = Path(),
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Digest of a value that is known to be no secret.")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Look for what seems to be a real secret: tokens and keys of known forms, hashes, values that were published.

    It names place, kind and digest, never a value. Exit code 1: there is something.
    """
    found = list(scanning.scan(scanning.files_below(folder), frozenset(allow or ())))
    lines = [f"{escape(str(item.file))}:{item.line}  {item.kind}  {item.digest}" for item in found]
    data: dict[str, Any] = {"folder": folder, "suspects": found}
    words = [f"{count(len(found), 'place')} that may hold a secret" if found else "nothing looks like a secret"]
    return Result("secrets scan", data, lines, words, exit_code=1 if found else 0)
