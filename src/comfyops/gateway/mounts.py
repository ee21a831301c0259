"""Other applications behind the gateway's door: whoever reaches them was let in, and is named to them.

A mounted application is ASGI too. It gets `scope["state"]["principal"]` (None on public routes), the canonical path
below the prefix it was mounted at, and neither credentials nor cookies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comfyops.auth import paths, policy
from comfyops.gateway import browser
from comfyops.gateway.exchange import SEND_FILE, ClientGoneError, Exchange, Receive, Scope, Send, SendFile
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Limits

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_FILE = "http.response.pathsend"  # the extension of ASGI by which an application has a file sent
_SECRET = (b"authorization", b"cookie", b"proxy-authorization")


class Mounts:
    """Which application serves a path; of several prefixes that fit, the longest counts."""

    def __init__(self, mounts: Mapping[str, ASGIApp]) -> None:
        found = ((policy.canonical(paths.normalise(prefix)), prefix.rstrip("/"), app) for prefix, app in mounts.items())
        self._mounts = sorted(found, key=lambda mount: -len(mount[0]))

    def find(self, path: str) -> tuple[str, ASGIApp] | None:
        """The path as the application knows it, and the application; None where none is mounted there."""
        for canonical, prefix, app in self._mounts:
            if path == canonical or path.startswith(f"{canonical}/"):
                return prefix + path[len(canonical) :], app
        return None


class Visit:
    """One request at a mounted application."""

    def __init__(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._body = _Body(exchange.limits)
        self._ended = asyncio.Event()
        self._refused: RefusedError | None = None

    def end(self) -> None:
        """Let the application believe that its client has gone."""
        self._ended.set()

    async def serve(self, app: ASGIApp, path: str) -> None:
        """Serve the request. Raises RefusedError where its body is too long, too slow or compressed."""
        self._exchange.check_length(self._exchange.limits.upload_bytes)
        try:
            await app(self._scope(path), self._hear, self._say)
        except Exception:
            if self._refused is None:
                raise
        if self._refused is not None:
            raise self._refused

    def _scope(self, path: str) -> Scope:
        exchange = self._exchange
        state = {**exchange.scope.get("state", {}), "principal": exchange.principal, "address": exchange.address}
        headers = [pair for pair in exchange.headers if pair[0] not in _SECRET]
        raw = quote(path, safe="/").encode()
        own = {"path": path, "raw_path": raw, "root_path": "", "query_string": exchange.query}
        can = {**exchange.scope.get("extensions", {}), **({_FILE: {}} if SEND_FILE in exchange.scope else {})}
        return {**exchange.scope, **own, "headers": headers, "state": state, "extensions": can}

    async def _hear(self) -> MutableMapping[str, Any]:
        message = await self._next()
        if message["type"] == "http.request":
            try:
                self._body.count(message)
            except RefusedError as refused:
                self._refused = refused
                raise
        return message

    async def _next(self) -> MutableMapping[str, Any]:
        gone = asyncio.ensure_future(self._ended.wait())
        hearing = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait((gone, hearing), timeout=self._body.patience, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                return hearing.result()
            if gone.done():
                return {"type": "http.disconnect"}
        finally:
            gone.cancel()
            hearing.cancel()
        self._refused = RefusedError(408, "body_too_slow", "The rest of the request did not come.")
        raise self._refused

    async def _say(self, message: MutableMapping[str, Any]) -> None:
        if self._refused is not None:
            raise self._refused
        if message["type"] == "http.response.start":
            self._exchange.started = True
            message = {**message, "headers": _answered(message.get("headers", ()), self._exchange.cors)}
        elif message["type"] == _FILE:
            await self._send_file(Path(message["path"]))
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _send_file(self, path: Path) -> None:
        """Send a whole file as the body. Raises ClientGoneError, also where `end` was called meanwhile."""
        send_file: SendFile = self._exchange.scope[SEND_FILE]
        sending = asyncio.ensure_future(send_file(path, 0, path.stat().st_size))
        gone = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientGoneError
            await sending
        finally:
            gone.cancel()
            sending.cancel()


class _Body:
    """How much of a body has come, and how long one waits for more of it (seconds; None once all is there)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0
        self.patience: float | None = limits.body_seconds

    def count(self, message: MutableMapping[str, Any]) -> None:
        """Note a piece. Raises RefusedError where it is one too many."""
        self._size += len(message.get("body", b""))
        if self._size > self._limits.upload_bytes:
            limit = self._limits.upload_bytes
            raise RefusedError(413, "too_large", f"The body is larger than {limit} bytes.")
        if not message.get("more_body", False):
            self.patience = None


def _answered(headers: Iterable[tuple[bytes, bytes]], cors: browser.Headers) -> browser.Headers:
    """The headers of its answer with ours; what it says of framing and the like goes first."""
    given = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    names = {name for name, _ in given}
    return [*given, *(pair for pair in browser.SECURITY if pair[0] not in names), *cors]
