"""`comfyops models`: the model files that a server or a folder has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.commands import (
    models_catalog,
    models_check,
    models_dedupe,
    models_fetch,
    models_import,
    models_lock,
    models_share,
)
from comfyops.cli.model_options import ModelsDir
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count, in_words
from comfyops.config import Settings
from comfyops.errors import MissingFileError, UsageError
from comfyops.models import storage
from comfyops.models.folders import canonical, folders_of
from comfyops.models.inventory import Inventory, ModelFile, scan

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Find, fetch and verify model files.")


@app.callback()
def models() -> None:
    """Find, fetch, verify and look at model files."""


for module in (models_check, models_fetch, models_catalog, models_lock):
    module.register(app)
app.command("import")(models_import.take)
app.command("dedupe")(models_dedupe.run)
app.command("share")(models_share.run)


@app.command()
def installed(
    comfyui_path: Annotated[
        Path | None, typer.Option("--comfyui-path", help="Folder of a ComfyUI installation to look into.")
    ] = None,
    extra: Annotated[
        list[Path] | None, typer.Option("--extra-model-paths", help="Further files like extra_model_paths.yaml.")
    ] = None,
    models_dir: ModelsDir = None,
    folder: Annotated[str | None, typer.Option("--folder", help="Only this folder, such as loras.")] = None,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """List every model file with its folder and size: of a server, of a ComfyUI installation, or of a models folder."""
    if comfyui_path is None and extra:
        raise UsageError("--extra-model-paths goes with --comfyui-path DIR.")
    if sum(item is not None for item in (comfyui_path, models_dir, server)) > 1:
        raise UsageError("Give one of --server, --comfyui-path and --models-dir.")
    if comfyui_path is not None:
        source, found = str(comfyui_path), _of_folder(comfyui_path, extra or [])
    elif models_dir is not None:
        source, found = models_dir, _of_models(models_dir)
    else:
        chosen = settings(server=server, token=token, api_prefix=api_prefix)
        source, found = chosen.server, wait_for(_of_server(chosen))
    files = tuple(item for item in found.files if folder is None or item.folder == canonical(folder))
    shown = Inventory(files, found.unreadable)
    data = {"source": source, "files": files, "total_bytes": shown.total, "unreadable": found.unreadable}
    notes = [f"{count(len(files), 'model file')}, {in_words(shown.total)}, of {source}"]
    notes += [f"[yellow]not readable[/]: {escape(path)}" for path in found.unreadable]
    return Result("models installed", data, _lines(files), notes)


async def _of_server(chosen: Settings) -> Inventory:
    async with parts.connect(chosen) as backend:
        found = await backend.model_files()
    return Inventory(tuple(ModelFile(item.folder, item.name, item.size) for item in found))


def _of_folder(comfyui: Path, extra: list[Path]) -> Inventory:
    if not comfyui.is_dir():
        raise MissingFileError(f"{comfyui} is no folder.", hint="Give the folder that holds ComfyUI's main.py.")
    if not (comfyui / "models").is_dir():
        words = f"{comfyui} is no ComfyUI installation: it has no folder 'models'."
        raise MissingFileError(words, hint="Give the folder that holds ComfyUI's main.py.", path=str(comfyui))
    return scan(folders_of(comfyui, extra))


def _of_models(folder: str) -> Inventory:
    there = storage.of_folder(folder)
    if not there.root.is_dir():
        raise MissingFileError(f"{folder} is no folder.", hint="Give the folder that holds checkpoints, loras ...")
    return scan(there.folders)


def _lines(files: tuple[ModelFile, ...]) -> Iterator[str]:
    sizes = [in_words(item.size) if item.size is not None else "?" for item in files]
    width = max(map(len, sizes), default=0)
    for item, size in zip(files, sizes, strict=True):
        yield f"{size.rjust(width)}  {escape(item.folder)}/{escape(item.name)}"
