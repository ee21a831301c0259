"""A simulated server behind the rules of ComfyUI-Login 1.0.0, its weaknesses included, as a backend to be guarded.

One hash is the bearer token of everybody; it is taken in the query too; paths that end like files of a page are exempt;
an Authorization header that is not two words fails; the log shows the hash; guests may be let in; before a password is
set the empty token is right. Written from what the real one was seen to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from comfyops.simulator import Simulator, SimulatorSettings

HASH = "$2b$12$" + "abcdefghijklmnopqrstuv" + "0123456789ABCDEFGHIJKLMNOPQRSTU"
_EXEMPT = (".css", ".css.map", ".js", ".ico")


@dataclass
class LoginServer:
    """Where it listens, and what it was shown: every Authorization header and query."""

    url: str
    simulator: str
    token: str
    guests: bool
    shown: list[tuple[str, str]] = field(default_factory=list)

    def lets_in(self, request: web.Request) -> bool:
        """The rules."""
        header = request.headers.get("Authorization", "")
        self.shown.append((header, request.query_string))
        if request.path == "/login" or request.path.endswith(_EXEMPT):
            return True
        if header:
            kind, given = header.split()  # fails on other than two words, as the real one does
            if kind == "Bearer" and given == self.token:
                return True
        return request.query.get("token") == self.token


@asynccontextmanager
async def login_server(token: str = HASH, *, guests: bool = False) -> AsyncIterator[LoginServer]:
    """Such a server while the block runs; with an empty token, one whose password nobody has set yet."""
    async with Simulator(SimulatorSettings(port=0)) as simulator, aiohttp.ClientSession() as session:
        found = LoginServer("", simulator.url, token, guests)

        async def handle(request: web.Request) -> web.StreamResponse:
            if not found.lets_in(request):
                return web.json_response({"error": "no"}, status=401)
            if request.path == "/login":
                return web.Response(text=_page(found), content_type="text/html")
            if request.path.startswith("/internal/logs"):
                return web.json_response(f"token={found.token}")
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _socket(session, simulator.url, request)
            return await _passed(session, simulator.url, request)

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield found
        finally:
            await runner.cleanup()


def _page(found: LoginServer) -> str:
    guests = '<input type="button" value="Guest Mode">' if found.guests else ""
    first = "" if found.token else "please enter a new username and password"
    return f"<html>{first}{guests}</html>"


async def _passed(session: aiohttp.ClientSession, url: str, request: web.Request) -> web.StreamResponse:
    headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
    async with session.request(
        request.method, url + request.raw_path, headers=headers, data=await request.read() or None
    ) as answer:
        kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
        return web.Response(status=answer.status, body=await answer.read(), headers=kind)


async def _socket(session: aiohttp.ClientSession, url: str, request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async with session.ws_connect(url + request.raw_path) as upstream:
        async for message in upstream:
            if socket.closed:
                break
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
    return socket
