"""/ws: the websocket of messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import WSMsgType, web

from comfyops.simulator.machine import Machine, machine
from comfyops.simulator.routes.system import features
from comfyops.simulator.sockets import Connection


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Open a socket for `clientId` (a fresh one without): status first, then whatever concerns that client."""
    here = machine(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    connection = here.sockets.connect(request.query.get("clientId", ""), socket, request.transport)
    here.sockets.publish_json("status", {"status": here.queue_info(), "sid": connection.sid}, connection.sid)
    if here.bench.current is not None and here.bench.current[0] == connection.sid:
        here.sockets.publish_json("executing", {"node": here.bench.current[1]}, connection.sid)
    sender = asyncio.create_task(here.sockets.serve_one(connection))
    try:
        await _listen(here, connection)
    finally:
        here.sockets.disconnect(connection)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender
    return socket


async def _listen(here: Machine, connection: Connection) -> None:
    """Read what the client says. Only feature flags in its first JSON message mean anything."""
    first = True
    async for message in connection.socket:
        data = _parsed(message.data) if message.type is WSMsgType.TEXT else None
        if data is None:
            continue
        if first and data.get("type") == "feature_flags":
            flags = data.get("data", {})
            connection.flags = flags if isinstance(flags, dict) else {}
            here.sockets.publish_json("feature_flags", features(here.modern), connection.sid)
        first = False


def _parsed(text: Any) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


ROUTES = [web.get("/ws", websocket)]
