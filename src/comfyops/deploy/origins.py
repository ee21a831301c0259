"""A door before a ComfyUI of this machine that lets pages of several origins in; ComfyUI itself can name one only.

ComfyUI listens on loopback behind it and is asked without `Origin`, since it refuses pages of others by itself. Who is
no page, or a page of the same address, passes as before; a page of an origin that is not in the list gets 403. Bodies
and websocket messages pass in pieces, both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from comfyops.errors import PortInUseError

_PIECE = 256 * 1024
_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "origin", "sec-fetch-site", "sec-fetch-mode"),
    }
)
_OWN = frozenset({"access-control-allow-origin", "access-control-allow-credentials", "vary", "server", "date"})
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Comfy-User",
    "Access-Control-Max-Age": "600",
}
_PREPARING = aiohttp.ClientTimeout(total=None, connect=10)


@asynccontextmanager
async def door(listen: Sequence[str], port: int, upstream: str, origins: Sequence[str]) -> AsyncIterator[None]:
    """Listen at these addresses and pass on to `upstream` while the block runs. Raises PortInUseError."""
    async with aiohttp.ClientSession(timeout=_PREPARING, auto_decompress=False, trust_env=False) as session:
        passing = _Door(session, upstream, frozenset(item.lower() for item in origins))
        runner = web.ServerRunner(web.Server(passing.handle, access_log=None, auto_decompress=False), access_log=None)
        await runner.setup()
        try:
            for host in listen:
                await _site(runner, host, port)
            yield
        finally:
            await runner.shutdown()
            await runner.cleanup()


async def _site(runner: web.ServerRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host or None, port, reuse_address=True).start()
    except OSError as error:
        raise PortInUseError(f"Nothing can listen on {host}:{port}: {error.strerror}.", port=port) from error


class _Door:
    def __init__(self, session: aiohttp.ClientSession, upstream: str, origins: frozenset[str]) -> None:
        self._session = session
        self._upstream = upstream
        self._origins = origins

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or relay one websocket."""
        origin = request.headers.get("Origin", "").rstrip("/").lower()
        known = origin in self._origins
        if origin and not known and urlsplit(origin).netloc != request.headers.get("Host", "").lower():
            return web.Response(status=403, text=f"Pages of {origin[:200]!r} may not call this ComfyUI.")
        shared = {"Access-Control-Allow-Origin": request.headers["Origin"], "Vary": "Origin"} if known else {}
        if shared:
            shared["Access-Control-Allow-Credentials"] = "true"
        if request.method == "OPTIONS" and known:
            return web.Response(status=204, headers={**shared, **_PREFLIGHT})
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._relay(request)
            return await self._pass(request, shared)
        except aiohttp.ClientConnectionError:
            return web.Response(status=502, text="ComfyUI does not answer.", headers=shared)

    async def _pass(self, request: web.BaseRequest, shared: dict[str, str]) -> web.StreamResponse:
        body = request.content.iter_chunked(_PIECE) if request.body_exists else None
        url = self._upstream + request.raw_path if request.raw_path.startswith("/") else self._upstream
        asked = self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=_kept(request.headers),
            data=body,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        async with asked as answer:
            headers = CIMultiDict(item for item in _kept(answer.headers).items() if item[0].lower() not in _OWN)
            headers.update(shared)
            given = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
            await given.prepare(request)
            async for piece in answer.content.iter_chunked(_PIECE):
                await given.write(piece)
            await given.write_eof()
            return given

    async def _relay(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name: value for name, value in _kept(request.headers).items() if not _handshake(name)}
        url = "ws" + self._upstream.removeprefix("http") + request.raw_path
        async with self._session.ws_connect(
            URL(url, encoded=True), headers=headers, max_msg_size=0, compress=0
        ) as behind:
            front = web.WebSocketResponse(max_msg_size=0, compress=False)
            await front.prepare(request)
            sides = [asyncio.ensure_future(_pump(front, behind)), asyncio.ensure_future(_pump(behind, front))]
            try:
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)
            with suppress(ConnectionError):
                await front.close()
            return front


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    goal: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    """Pass messages on until one side has gone."""
    with suppress(ConnectionError):
        async for message in source:
            if message.type is aiohttp.WSMsgType.TEXT:
                await goal.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await goal.send_bytes(message.data)


def _kept(headers: Mapping[str, str]) -> CIMultiDict[str]:
    named = {item.strip().lower() for item in headers.get("Connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP | named)


def _handshake(name: str) -> bool:
    return name.lower().startswith("sec-websocket-")
