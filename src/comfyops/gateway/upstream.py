"""Kept-open HTTP/1.1 connections to one backend, as lean as the proxy's path needs them.

A general client costs more per request than the rest of the gateway together (see docs/decisions); this one does what a
proxy needs and no more: no redirects, no cookies, no decoding, bodies streamed both ways under flow control.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from comfyops.errors import UnreachableError

Headers = list[tuple[bytes, bytes]]
Body = bytes | AsyncIterator[bytes]

HIGH_WATER = 1024 * 1024
"""Bytes of an answer that may wait for a slow reader before the backend is made to wait."""

_IDLE = 15.0  # seconds after which a kept connection is not used again: the backend may be closing it
_KEPT = 64  # connections kept open while nobody uses them
_SAFE = frozenset({"GET", "HEAD"})


class Answer:
    """The answer of a backend: `status`, `headers` (names in lower case), and its body, to be read once.

    Whoever stops reading before the end calls `drop`.
    """

    __slots__ = ("_connection", "_parts", "complete", "headers", "status")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self.complete = False
        self.headers: Headers = []
        self.status = 0

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, None where it is not there."""
        return next((value for key, value in self.headers if key == name), None)

    def at_hand(self) -> bytes | None:
        """The whole body where all of it has arrived already, else None."""
        if not self.complete:
            return None
        body = self._parts.popleft() if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises UnreachableError where the backend ends in the middle."""
        try:
            while True:
                while self._parts:
                    part = self._parts.popleft()
                    if not self.complete:
                        self._connection.taken(len(part))
                    yield part
                if self.complete:
                    break
                await self._connection.more()
        finally:
            if not self.complete:
                self.drop()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UnreachableError, also where it is longer than `limit` bytes."""
        whole = self.at_hand()
        if whole is not None and len(whole) <= limit:
            return whole
        data = bytearray(whole or b"")
        async for part in self.chunks():
            data += part
            if len(data) > limit:
                self.drop()
                raise UnreachableError("The backend's answer is too large.")
        return bytes(data)

    def drop(self) -> None:
        """Do without the rest: the connection is closed."""
        self._connection.close()

    def add(self, part: bytes) -> None:
        """A piece of the body has arrived."""
        self._parts.append(part)


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, pool: Upstream) -> None:
        self.pool = pool
        self.broken = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._head: asyncio.Future[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._waiting = 0
        self._paused = False
        self._sent = True
        self._method = ""
        self._framed = False
        self._reading_head = False
        self._length = 0  # of the body, where it was said
        self._seen = 0  # bytes of it
        self._plain = 0  # bytes of it that come without the parser
        self._keeps = False
        self.answer = Answer(self)
        self._parser = HttpResponseParser(self)

    # what the pool calls

    async def ask(self, method: str, head: bytes, body: Body | None, chunked: bool) -> Answer:
        """Send a request and wait for the head of its answer."""
        transport = self._transport
        assert transport is not None
        loop = asyncio.get_running_loop()
        self.answer, self._method, self._framed, self._reading_head = Answer(self), method, False, True
        self._length = self._seen = 0
        answer, self._sent = self.answer, body is None or isinstance(body, bytes)
        self._head = loop.create_future()
        if body is None or isinstance(body, bytes):
            transport.write(head + body if body else head)
            await self._head
            return answer
        transport.write(head)
        sending = loop.create_task(self._send(body, chunked))
        try:
            await asyncio.wait({sending, self._head}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and sending.exception() is not None:
                self.close()
                raise sending.exception() or RuntimeError
            await self._head
        finally:
            sending.cancel()  # after an answer before the end of the request, the rest is of no use
        return answer

    async def _send(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        transport = self._transport
        assert transport is not None
        async for part in body:
            if self._writable is not None:
                await self._writable
            if part:
                transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            transport.write(b"0\r\n\r\n")
        self._sent = True

    async def more(self) -> None:
        """Wait until more of the body is there."""
        if self.broken:
            raise UnreachableError("The backend ended in the middle of an answer.")
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def taken(self, size: int) -> None:
        """Somebody took this many bytes of the body."""
        self._waiting -= size
        if self._paused and self._waiting < HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """End it."""
        self.broken = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it."""
        return not self.broken and self._transport is not None and not self._transport.is_closing()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self.answer.complete:  # which nobody has asked for: the next one who asks would get them
            self.close()
            return
        if self._plain:
            if len(data) > self._plain:  # more than was said: nothing on this connection can be believed
                self.connection_lost(None)
                self.close()
                return
            self._plain -= len(data)
            self.on_body(data)
            if not self._plain:
                self._parser = HttpResponseParser(self)
                self._ended(self._keeps)
            return
        try:
            self._parser.feed_data(data)
            if self._length - self._seen > HIGH_WATER and self.answer.status and not self.answer.complete:
                # the rest of a large body of known length needs no parser, which would copy it
                self._plain, self._keeps = self._length - self._seen, self._parser.should_keep_alive()
        except HttpParserError:
            self.connection_lost(None)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed: the end of an answer without a length, else a failure."""
        if not self.answer.complete and not self._reading_head and not self._framed and not self.broken:
            self.answer.complete = True
        self.broken = True
        failure = UnreachableError("The backend closed the connection.")
        for future in (self._head, self._news):
            if future is not None and not future.done():
                if self.answer.complete:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        self.resume_writing()

    def pause_writing(self) -> None:
        """The backend reads too slowly."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The backend reads again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # what the parser calls

    def on_message_begin(self) -> None:
        """An answer begins: the one that is waited for, and no other behind it."""
        if self.answer.complete:
            raise ValueError

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
            self._framed = True
            self._length = int(value) if name == b"content-length" and value.isdigit() else 0
        self.answer.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if status < 200:
            self.answer.headers = []
            return
        self.answer.status, self._reading_head = status, False
        if self._method == "HEAD":  # the parser expects a body; there is none, and it is of no further use
            self.answer.complete = True
            self.close()
        elif not self._framed and status in (204, 304):
            self._framed = True
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self.answer.add(body)
        self._seen += len(body)
        self._waiting += len(body)
        if self._waiting > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._tell()

    def on_message_complete(self) -> None:
        """The whole answer is there."""
        if not self._reading_head:  # else it is only an interim answer
            self._ended(self._parser.should_keep_alive())

    def _ended(self, keeps: bool) -> None:
        self.answer.complete = True
        self._waiting = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._tell()
        if self._sent and keeps and self.usable:
            self.pool.give_back(self)
        else:
            self.pool.forget(self)
            self.close()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Upstream:
    """A backend's address and the open connections to it.

    `credential` is sent as `Authorization` to the backend, which needs it where ComfyUI-Login guards it; what a client
    sends for itself never gets that far.
    """

    def __init__(self, url: str, *, credential: str | None = None, timeout: float = 120.0) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self.host = parts.hostname or "127.0.0.1"
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/").encode()
        self.timeout = timeout
        self.credential = credential
        own = f"[{self.host}]" if ":" in self.host else self.host
        self._host_lines = f"host: {own}:{self.port}\r\n".encode()
        if credential:
            self._host_lines += b"authorization: Bearer " + credential.encode("latin-1") + b"\r\n"
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def send(
        self, method: str, target: bytes, headers: Headers | None = None, body: Body | None = None
    ) -> Answer:
        """Ask the backend. `target` is the raw path with its query; bodies without `content-length` go in chunks.

        A request that may be repeated is, where a kept connection turns out to be closed. Raises UnreachableError.
        """
        head, chunked = self._head(method, target, headers or [], body)
        kept = self._take()
        if kept is not None:
            try:
                return await self._ask(kept, method, head, body, chunked)
            except UnreachableError:
                if method not in _SAFE or body is not None:
                    raise
        return await self._ask(await self._connect(), method, head, body, chunked)

    async def _ask(self, connection: _Connection, method: str, head: bytes, body: Body | None, chunked: bool) -> Answer:
        # a timer for the rare case is cheaper than a timeout scope for each request
        timer = asyncio.get_running_loop().call_later(self.timeout, connection.connection_lost, None)
        try:
            return await connection.ask(method, head, body, chunked)
        except BaseException:
            connection.close()
            self.forget(connection)
            raise
        finally:
            timer.cancel()

    def _head(self, method: str, target: bytes, headers: Headers, body: Body | None) -> tuple[bytes, bool]:
        lines = [b"%b %b%b HTTP/1.1\r\n" % (method.encode(), self.prefix, target), self._host_lines]
        measured = False
        for name, value in headers:
            measured = measured or name == b"content-length"
            lines.append(b"%b: %b\r\n" % (name, value))
        chunked = body is not None and not isinstance(body, bytes) and not measured
        if isinstance(body, bytes) and not measured:
            lines.append(b"content-length: %d\r\n" % len(body))
        elif chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines), chunked

    def _take(self) -> _Connection | None:
        oldest = time.monotonic() - _IDLE
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.close()
            self.forget(connection)
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(10):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), self.host, self.port, ssl=self.secure or None
                )
        except (OSError, TimeoutError) as error:
            raise UnreachableError("The backend does not answer.") from error
        self._all.add(connection)
        return connection

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        if len(self._idle) >= _KEPT:
            connection.close()
            self.forget(connection)
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """A connection is not used any more."""
        self._all.discard(connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in tuple(self._all):
            connection.close()
        self._all.clear()
        self._idle.clear()
