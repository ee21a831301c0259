"""`comfyops models share`: the models of this machine for other machines of the network."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comfyops import app as parts
from comfyops.cli import logs
from comfyops.cli.model_options import ComfyUIPath, ModelsDir
from comfyops.cli.options import Json, settings, wait_for
from comfyops.cli.output import Result, emit, say
from comfyops.errors import UsageError

if TYPE_CHECKING:
    from comfyops.models.sharing.server import Listen
    from comfyops.models.storage import Storage


def run(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")] = 8190,
    token: Annotated[
        str | None, typer.Option(help="What others must show, else COMFYOPS_PEER_TOKEN; 16 characters or more.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="TLS key (PEM).")] = None,
    comfyui_path: ComfyUIPath = None,
    models_dir: ModelsDir = None,
    as_json: Json = False,
) -> None:
    """Give model files to other machines until Ctrl-C: read-only, by SHA-256 or name, to those who show the token.

    They set COMFYOPS_PEERS=http://THIS-MACHINE:PORT and the same COMFYOPS_PEER_TOKEN.
    """
    from comfyops.models.sharing.server import Listen

    chosen = settings(comfyui_path=comfyui_path, models_dir=models_dir, peer_token=token)
    logs.protect(chosen, token)
    if chosen.peer_token is None:
        raise UsageError("A share needs a token.", hint="Set COMFYOPS_PEER_TOKEN, such as to `openssl rand -hex 32`.")
    if (certificate is None) != (key is None):
        raise UsageError("A certificate needs its key, and a key its certificate.")
    listen = Listen(host, port, chosen.peer_token.get_secret_value(), certificate, key)
    with contextlib.suppress(KeyboardInterrupt):  # the way in which it is meant to end
        wait_for(_share(parts.model_storage(chosen), listen, as_json))


async def _share(storage: Storage, listen: Listen, as_json: bool) -> None:
    from comfyops.models.sharing.server import sharing
    from comfyops.models.sharing.shelf import Shelf

    async with sharing(Shelf(storage), listen) as url:
        if as_json:
            emit(Result("models share", {"url": url, "folder": str(storage.root)}), as_json=True)
        say(f"models of {storage.root} are shared at {url} (stop it with Ctrl-C)")
        await asyncio.Event().wait()
