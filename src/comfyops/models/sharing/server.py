"""Gives shared files to those who show the token: GET and HEAD, ranges, ETag = SHA-256. Nothing else, and no names of
what there is.

    /sha256/HASH            the file with these bytes
    /models/FOLDER/NAME     the file of this name
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aiohttp import web
from aiohttp.typedefs import Middleware

from comfyops.errors import PortInUseError, UsageError
from comfyops.models.sharing.shelf import LOOK_EVERY, Shared, Shelf, Watch

SHORTEST_TOKEN = 16
"""Characters that a token must have at least: it is all that stands before the files."""

_PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a share listens, and what must be shown to it. `certificate` and `key` (PEM) make it https."""

    host: str
    port: int
    token: str = field(repr=False)
    certificate: Path | None = None
    key: Path | None = None


@asynccontextmanager
async def sharing(shelf: Shelf, listen: Listen, every: float = LOOK_EVERY) -> AsyncIterator[str]:
    """Share what is on a shelf while the block runs; gives the address.

    Raises UsageError for a weak token or a certificate that cannot be used, PortInUseError.
    """
    if len(listen.token) < SHORTEST_TOKEN:
        words = f"The token of a share has at least {SHORTEST_TOKEN} characters."
        raise UsageError(words, hint="Set COMFYOPS_PEER_TOKEN on all machines, such as to `openssl rand -hex 32`.")
    context = _context(listen)
    runner = web.AppRunner(_application(shelf, listen.token), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            raise PortInUseError(f"Models cannot be shared at {listen.host}:{listen.port}: {reason}.") from error
        port = runner.addresses[0][1]
        with Watch(shelf, every):
            yield f"{'https' if context else 'http'}://{listen.host}:{port}"
    finally:
        await runner.cleanup()


def _context(listen: Listen) -> ssl.SSLContext | None:
    if listen.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(listen.certificate, listen.key, " ")  # no passphrase is asked for
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{listen.certificate} and its key cannot be used: {error}.") from error
    return context


def _application(shelf: Shelf, token: str) -> web.Application:
    async def by_hash(request: web.Request) -> web.StreamResponse:
        return await _give(request, shelf.by_hash(request.match_info["digest"].lower()))

    async def by_name(request: web.Request) -> web.StreamResponse:
        return await _give(request, shelf.by_name(request.match_info["name"]))

    application = web.Application(middlewares=[_guard(token)])
    application.router.add_get("/sha256/{digest}", by_hash)
    application.router.add_get("/models/{name:.+}", by_name)
    return application


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _guard(token: str) -> Middleware:
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, wanted):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard


async def _give(request: web.Request, item: Shared | None) -> web.StreamResponse:
    if item is None:
        return web.Response(status=404)
    try:
        file = await asyncio.to_thread(item.path.open, "rb", buffering=0)
    except OSError:
        return web.Response(status=404)
    with file:
        if not item.is_still(os.fstat(file.fileno())):  # another file now, whose hash nobody knows yet
            return web.Response(status=404)
        return await _answer(request, item, file)


async def _answer(request: web.Request, item: Shared, file: IO[bytes]) -> web.StreamResponse:
    etag = f'"{item.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    condition = request.headers.get("If-Range")
    asked = request.headers.get("Range", "") if condition in (None, etag) else ""
    span = span_of(asked, item.size)
    if span is None:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{item.size}"})
    start, end = span
    if partial := bool(_RANGE.fullmatch(asked)):
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{item.size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        await _pour(response, file, start, end)
    return response


def span_of(asked: str, size: int) -> tuple[int, int] | None:
    """The bytes (start, end) that a header Range asks of a file; all of them where it makes no sense or asks for
    several ranges, None where it asks for none that are there.
    """
    found = _RANGE.fullmatch(asked)
    if found is None or found[0] == "bytes=-":
        return 0, size
    first, last = found[1], found[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else None


async def _pour(response: web.StreamResponse, file: IO[bytes], start: int, end: int) -> None:
    file.seek(start)
    while start < end:
        data = await asyncio.to_thread(file.read, min(_PIECE, end - start))
        if not data:
            raise ConnectionResetError("the file became shorter")
        await response.write(data)
        start += len(data)
