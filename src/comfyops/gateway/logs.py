"""A server's own log, without the credential that the gateway signs in with: ComfyUI-Login prints it at every start."""

from __future__ import annotations

from comfyops.gateway import browser
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.upstream import Upstream

_MOST = 64 * 1024 * 1024  # bytes; ComfyUI keeps its last 300 lines
_STARS = b"***"


def shows_log(exchange: Exchange, upstream: Upstream) -> bool:
    """Whether the answer may hold the credential that is sent to this server."""
    in_log = exchange.path == "/internal/logs" or exchange.path.startswith("/internal/logs/")
    return bool(upstream.credential) and in_log and exchange.method in ("GET", "HEAD")


async def pass_log(exchange: Exchange, upstream: Upstream) -> None:
    """Ask for the log and give it back with stars in the credential's place. Raises UnreachableError."""
    headers = [pair for pair in browser.to_server(exchange.headers) if pair[0] not in (b"accept-encoding", b"range")]
    answer = await upstream.send(exchange.method, exchange.target, headers)
    body = (await answer.read(_MOST)).replace((upstream.credential or "").encode("latin-1"), _STARS)
    kind = answer.header(b"content-type") or b"application/json"
    await exchange.answer(answer.status, body, [(b"content-type", kind), (b"cache-control", b"no-store")])
