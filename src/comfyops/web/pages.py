"""The operators' page: files of this package, with headers that let it load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_FILES = {
    "/ops": ("ops.html", "text/html; charset=utf-8"),
    "/ops/static/ops.css": ("ops.css", "text/css; charset=utf-8"),
    "/ops/static/icon.svg": ("icon.svg", "image/svg+xml"),
    "/ops/static/ops.js": ("ops.js", "text/javascript; charset=utf-8"),
    "/ops/static/words.js": ("words.js", "text/javascript; charset=utf-8"),
}


def page() -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The page at /ops and its files, as an ASGI application."""
    folder = files(__package__) / "static"
    known = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        body, kind = known.get(scope["path"].rstrip("/"), (b'{"error": {"code": "not_found"}}', "application/json"))
        found = scope["path"].rstrip("/") in known
        status = 200 if found and scope["method"] in ("GET", "HEAD") else 405 if found else 404
        headers = {"content-type": kind, "content-length": str(len(body)), "content-security-policy": _CSP}
        headers["cache-control"] = "no-cache"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return serve
