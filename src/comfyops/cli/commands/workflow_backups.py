"""`comfyops workflow backup | restore`: copies of workflow files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from comfyops.cli.options import Json, settings
from comfyops.cli.output import Result
from comfyops.support import backups
from comfyops.support.backups import Backup


def register(app: typer.Typer) -> None:
    """Add these commands to a noun."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    files: Annotated[list[Path], typer.Argument(help="Files to copy.")],
    as_json: Json = False,
) -> Result:
    """Copy workflow files into the folder `.comfyops-backups` beside them; what is unchanged is not copied again.

    Where nothing can be written there, copies go below COMFYOPS_HOME.
    """
    home = settings().home
    made = [(file, backups.backup(file, home)) for file in files]
    lines = (f"{escape(str(file))}: {escape(str(item.path))}" for file, item in made)
    return Result("workflow backup", [{"file": file, **_data(item)} for file, item in made], lines)


def restore(
    file: Annotated[Path, typer.Argument(help="File to put a copy back to.")],
    wanted: Annotated[
        str | None, typer.Option("--from", help="Beginning of the copy's id or SHA-256; else the newest that differs.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List the copies, the newest first.")] = False,
    as_json: Json = False,
) -> Result:
    """Put a copy of a file back in its place; what is there now is copied first."""
    home = settings().home
    if only_list:
        known = backups.backups(file, home)
        listed = (f"{item.id[:34]}  {item.created:%Y-%m-%d %H:%M:%S} UTC  {item.size} bytes" for item in known)
        return Result("workflow restore", [_data(item) for item in known], listed, [f"{len(known)} backups"])
    done = backups.restore(file, wanted, home)
    kept = [f"what was there is kept as backup {done.kept.id[:34]}"] if done.kept else []
    data = {"file": file, "restored": _data(done.backup), "kept": _data(done.kept) if done.kept else None}
    lines = [f"{escape(str(file))} is again as of {done.backup.created:%Y-%m-%d %H:%M:%S} UTC"]
    return Result("workflow restore", data, lines, kept)


def _data(item: Backup) -> dict[str, Any]:
    return {
        "id": item.id,
        "path": item.path,
        "sha256": item.sha256,
        "size": item.size,
        "created": item.created.isoformat(),
    }
