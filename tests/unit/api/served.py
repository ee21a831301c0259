"""An ASGI application on a port of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from comfyops.auth.principal import Principal


@asynccontextmanager
async def served(api: Any, who: Principal) -> AsyncIterator[str]:
    """Its address; everybody who comes is let in as this principal."""

    async def door(scope: Any, receive: Any, send: Any) -> None:
        await api({**scope, "state": {"principal": who}}, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(door, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
