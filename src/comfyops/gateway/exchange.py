"""One HTTP request and its answer, as ASGI gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from comfyops.auth.principal import Principal
from comfyops.gateway import browser, file_sending
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Limits
from comfyops.gateway.upstream import Answer, Headers, Upstream

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WHOLE = "comfyops.whole"
"""Key of an ASGI scope of which all has come: nobody has to be waited for."""

SEND_FILE = "comfyops.send_file"
"""Key of an ASGI scope under which a connection that can let the kernel send files has its `SendFile`."""

SendFile = Callable[[Path, int, int], Awaitable[None]]
"""Sends bytes of a file (path, first, after the last) as a body or a part of it. Raises ClientGoneError."""

JSON = (b"content-type", b"application/json; charset=utf-8")
_USERDATA = ("/v2/userdata", "/api/v2/userdata")  # a route of ComfyUI, unlike the others below /v2


class ClientGoneError(Exception):
    """The client went away; there is nobody left to answer."""


class Exchange:
    """One request: where it goes and who asks, and the ways to read and answer it.

    `path` is canonical, for decisions; `target` is what is asked of a server: its path, quoted anew, and its query.
    """

    __slots__ = (
        "_named",
        "_receive", "_send", "address", "cors", "headers", "host", "limits", "method", "path", "principal", "query",
        "raw_path", "scope", "started",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.limits = limits
        self.method: str = scope.get("method", "GET")
        self.headers: Headers = scope["headers"]
        self._named: dict[bytes, list[bytes]] = {}
        for key, value in self.headers:
            self._named.setdefault(key, []).append(value)
        self.query: bytes = scope["query_string"]
        self.raw_path = b""  # as it is sent on
        self.path = ""
        self.address = ""
        self.host = ""
        self.cors: Headers = []
        self.principal: Principal | None = None
        self.started = False

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        return self._named.get(name, [])

    def first(self, name: bytes) -> bytes:
        """The first value of a header, b"" where there is none."""
        found = self._named.get(name)
        return found[0] if found else b""

    @property
    def target(self) -> bytes:
        """What is asked of the server."""
        return self.raw_path + b"?" + self.query if self.query else self.raw_path

    @property
    def has_body(self) -> bool:
        """Whether a body comes with it."""
        return b"transfer-encoding" in self._named or self.first(b"content-length") not in (b"", b"0")

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """The body in pieces. Raises RefusedError where it is too long or too slow, ClientGoneError."""
        self.check_length(limit)
        size, more = 0, True
        while more:
            part, more = await self._part()
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if part:
                yield part

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises RefusedError, ClientGoneError."""
        self.check_length(limit)
        body, more = await self._part()
        parts, size = [body], len(body)
        while more and size <= limit:
            part, more = await self._part()
            parts.append(part)
            size += len(part)
        if size > limit:
            raise _too_large(limit)
        return body if len(parts) == 1 else b"".join(parts)

    async def _part(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there may be more."""
        if WHOLE in self.scope:
            message = await self._receive()
        else:
            try:
                async with asyncio.timeout(self.limits.body_seconds):
                    message = await self._receive()
            except TimeoutError:
                raise RefusedError(408, "body_too_slow", "The rest of the request did not come.") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message.get("body", b""), message.get("more_body", False)

    def check_length(self, limit: int) -> None:
        """Refuse a body that is announced as too long, or comes compressed. Raises RefusedError."""
        if self.first(b"content-encoding") not in (b"", b"identity"):
            raise RefusedError(415, "encoded_body", "Bodies are taken as they are, not compressed.")
        length = self.first(b"content-length")
        if length and (not length.isdigit() or int(length) > limit):
            raise _too_large(limit)

    async def answer(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        """Answer with a body that is at hand."""
        self.started = True
        own = [*(headers or []), *browser.SECURITY, *self.cors, (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": own})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def send_file(self, status: int, headers: Headers, path: Path, start: int, end: int) -> None:
        """Answer with these bytes of a file. Raises ClientGoneError, and OSError where it cannot be read."""
        self.started = True
        own = [*headers, *browser.SECURITY, *self.cors, (b"content-length", str(end - start).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": own})
        send_file: SendFile | None = self.scope.get(SEND_FILE)
        if self.method != "HEAD" and send_file is not None:
            await send_file(path, start, end)
        elif self.method != "HEAD":
            async for piece in file_sending.pieces(path, start, end):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def json(self, status: int, value: Any, headers: Headers | None = None) -> None:
        """Answer with JSON."""
        await self.answer(status, json.dumps(value).encode(), [JSON, (b"cache-control", b"no-store"), *(headers or [])])

    async def refuse(self, refused: RefusedError) -> None:
        """Answer that this is not passed on; where a body is still coming, the connection ends with it."""
        ending = [(b"connection", b"close")] if self.has_body else []
        is_v2 = self.path.startswith(("/v2/", "/api/v2/")) and not self.path.startswith(_USERDATA)
        body = refused.contract_body() if is_v2 else refused.body()
        await self.answer(refused.status, body, [JSON, (b"cache-control", b"no-store"), *refused.headers(), *ending])

    async def pass_on(self, upstream: Upstream, target: bytes | None = None, body: bytes | None = None) -> None:
        """Send it to the server as it is (or with another target or body), and its answer back."""
        answer = await self.ask(upstream, target, body)
        await self.give_back(answer)

    async def ask(self, upstream: Upstream, target: bytes | None = None, body: bytes | None = None) -> Answer:
        """Send it to the server."""
        headers = browser.to_server(self.headers)
        stream = None
        if body is not None:
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        elif self.has_body:
            self.check_length(self.limits.upload_bytes)
            stream = self.stream(self.limits.upload_bytes)
        return await upstream.send(self.method, target or self.target, headers, body if body is not None else stream)

    async def give_back(self, answer: Answer) -> None:
        """Answer with what the server answered."""
        self.started = True
        headers = [*browser.to_client(answer.headers), *self.cors]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        whole = answer.at_hand()
        if whole is not None:
            await self._send({"type": "http.response.body", "body": whole})
            return
        try:
            await self._give_on(answer)
        except ClientGoneError:
            answer.drop()
            raise
        await self._send({"type": "http.response.body", "body": b""})

    async def _give_on(self, answer: Answer) -> None:
        """Pass a body on, as long as there is somebody who takes it."""
        gone = asyncio.ensure_future(self._gone())
        try:
            async for part in answer.chunks():
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                if gone.done():
                    raise ClientGoneError
        finally:
            gone.cancel()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "too_large", f"The body is larger than {limit} bytes.")
