"""What happens around every request: refusals by origin, cache headers, and the server's bare error answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from comfyops.simulator.machine import machine
from comfyops.simulator.submission import ServerTroubleError

MAX_BODY = 100 * 1024 * 1024
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"
_PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middlewares() -> list[Middleware]:
    """All of them, outermost first."""
    return [_cache_headers, _origin, _trouble]


def trouble() -> web.Response:
    """The 500 answer of a server whose handler raised."""
    response = web.Response(status=500, text=TROUBLE)
    response.force_close()
    return response


@web.middleware
async def _trouble(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return web.Response(status=413, text=f"Maximum request body size {MAX_BODY} exceeded.")
    except web.HTTPException:
        raise
    except (ServerTroubleError, TypeError, ValueError, KeyError, AttributeError, OSError, RecursionError) as error:
        machine(request).say(f"{request.method} {request.path}: {type(error).__name__}: {error}")
        return trouble()


@web.middleware
async def _origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    if machine(request).modern and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return web.Response(status=403)
    if _is_foreign(request.headers.get("Host", ""), request.headers.get("Origin", "")):
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def _is_foreign(host: str, origin: str) -> bool:
    """Whether a page of another origin calls a server on loopback; ports count only where both are given."""
    if not host or not origin:
        return False
    here, there = urlsplit("//" + host.lower()), urlsplit(origin.lower())
    if not _is_loopback(here.hostname) or not there.netloc:
        return False
    if here.port is None or there.port is None:
        return here.hostname != there.hostname
    return here.netloc != there.netloc


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@web.middleware
async def _cache_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        _add_cache_header(request, error)
        raise
    _add_cache_header(request, response)
    return response


def _add_cache_header(request: web.Request, response: web.StreamResponse) -> None:
    path = request.path
    name = path.rpartition("/")[2]
    if path.endswith((".js", ".css")) or (name.startswith("index") and name.endswith(".json")):
        response.headers.setdefault("Cache-Control", "no-store" if machine(request).modern else "no-cache")
    elif path.lower().endswith(_PICTURES):
        if response.status == 404:
            response.headers.setdefault("Cache-Control", "public, max-age=3600")
        elif response.status in (200, 201, 204, 206):
            response.headers.setdefault("Cache-Control", "public, max-age=86400")
