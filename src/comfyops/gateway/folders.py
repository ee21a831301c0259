"""A server's list of its model folders, for those who may not know where on the server these lie.

The official page asks for it wherever a workflow names models that are missing, and older ones (1.25) open no such
workflow without it. It needs the names of the folders; the places help those who keep the server.
"""

from __future__ import annotations

import json

from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.errors import NotComfyUIError
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.upstream import Upstream

_MOST = 4 * 1024 * 1024  # bytes


def hides_places(path: str, principal: Principal | None) -> bool:
    """Whether places of folders are at this path, and somebody asks who may not know them."""
    return path == "/internal/folder_paths" and (principal is None or not principal.may(scopes.LOGS_READ))


async def pass_names(exchange: Exchange, upstream: Upstream) -> None:
    """Answer with each folder's name in its places' stead. Raises UnreachableError, NotComfyUIError."""
    answer = await upstream.send("GET", b"/internal/folder_paths")
    try:
        folders = json.loads(await answer.read(_MOST))
    except (ValueError, RecursionError):
        folders = None
    if answer.status != 200 or not isinstance(folders, dict):
        raise NotComfyUIError("The backend does not answer as ComfyUI does.")
    await exchange.json(200, {name: [name] for name in folders})
