"""A client's connection: uvicorn's, with bounded heads, errors in our own form, and answers sent in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from comfyops.gateway import browser, file_sending
from comfyops.gateway.exchange import SEND_FILE, WHOLE, ClientGoneError
from comfyops.gateway.refusal import RefusedError

if TYPE_CHECKING:
    from comfyops.gateway.socket_connection import SocketConnection

HEAD = 64 * 1024
"""Most bytes of the first line and the headers of a request."""

_SLOWEST_HEAD = 30.0  # seconds in which the head of a request must have come
_WAITING = 512 * 1024  # bytes of an answer that wait for its client: pieces that come meanwhile are sent as one
_SMALL = 16 * 1024  # bytes of a piece that waits for the next one
_NOT_HTTP = RefusedError(400, "bad_request", "The request is not HTTP as it is understood here.")
_TOO_LARGE = RefusedError(431, "head_too_large", f"The head of the request is larger than {HEAD} bytes.")
_TOO_SLOW = RefusedError(408, "head_too_slow", "The rest of the request did not come.")


class Joining:
    """A transport that sends the head of an answer together with the body that follows at once: one system call less.

    What follows later than in this turn of the event loop is sent by itself.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.plain = transport
        self._loop = loop
        self._held = b""
        self.abort = transport.abort
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Send a piece, or hold it for the rest of this turn."""
        held = self._held
        if held:
            self._held = b""
            self.plain.writelines((held, data) if data else (held,))
        elif len(data) > _SMALL:
            self.plain.write(data)
        elif data:
            self._held = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        if held and not self.plain.is_closing():
            self.plain.write(held)

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self.plain.close()


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *arguments: Any, leave: Callable[[], None], patience: float = 60.0, **options: Any) -> None:
        """`patience` is for how long (seconds) a client may take nothing of its answer; `leave` hears of the end."""
        super().__init__(*arguments, **options)
        self._leave = leave
        self._patience = patience
        self._full: asyncio.TimerHandle | None = None  # while nothing more can be sent
        self._in_head = False  # whether a head has begun and has not ended
        self._size = 0  # bytes of its headers so far
        self._pieces = 0  # bytes that came for it since the piece in which it began
        self._deadline: asyncio.TimerHandle | None = None
        self._fault = _NOT_HTTP
        self._sends_files = False
        self._served: RequestResponseCycle | None = None  # `cycle` is the last one that came

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        transport.set_write_buffer_limits(high=_WAITING)
        super().connection_made(Joining(transport, self.loop))  # type: ignore[arg-type]
        self._deadline = self.loop.call_later(_SLOWEST_HEAD, self._late)
        self._sends_files = file_sending.possible(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._leave()
        self._on_time()
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes its answer too slowly."""
        self._full = self.loop.call_later(self._patience, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has taken most of what waited for it."""
        self._taken()
        super().resume_writing()

    async def _send_file(self, path: Path, start: int, end: int) -> None:
        """Bytes of a file as a body or a part of it, past the event loop. Raises ClientGoneError."""
        transport: asyncio.Transport = self.transport.plain  # type: ignore[attr-defined]
        self.transport.flush()  # type: ignore[attr-defined]
        cycle = self._served
        assert cycle is not None
        try:
            if not cycle.disconnected:
                transport.set_write_buffer_limits(high=0)  # all that waits has to go first
                await self.flow.drain()
            if cycle.disconnected:
                raise ClientGoneError
            await file_sending.send(transport, path, start, end, self._patience)
        except (ConnectionError, TimeoutError):
            transport.abort()
            raise ClientGoneError from None
        finally:
            if not transport.is_closing():
                transport.set_write_buffer_limits(high=_WAITING)
        cycle.expected_content_length -= end - start

    def _taken(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        began = self._in_head
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._bound_head(len(data) if began else 0)

    def _bound_head(self, size: int) -> None:
        self._pieces += size
        if self._pieces > HEAD:
            self._fault = _TOO_LARGE
            self.send_400_response("")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(_SLOWEST_HEAD, self._late)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; the head was a request's like any other."""
        self._on_time()
        self.transport = self.transport.plain  # type: ignore[attr-defined]
        super().handle_websocket_upgrade()
        cast("SocketConnection", self.transport.get_protocol()).leave = self._leave

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._size, self._pieces = True, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Those after a body ("trailers") are dropped: nobody has checked them."""
        if self._in_head:
            self._size += len(name) + len(value) + 4
            if self._size > HEAD:
                self._fault = _TOO_LARGE
                raise ValueError
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has come."""
        self._in_head = False
        self._on_time()
        if self._sends_files:
            self.scope[SEND_FILE] = self._send_file  # type: ignore[literal-required]
        before = self.cycle
        super().on_headers_complete()
        if before is None or before.response_complete:  # else it waits for its turn
            self._served = self.cycle

    def on_message_complete(self) -> None:
        """All of a request is here."""
        self.scope[WHOLE] = True  # type: ignore[literal-required]
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer has gone; the next request that has come is served now."""
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self._served = following or self._served

    def send_400_response(self, msg: str) -> None:
        """Answer that this is no request, and close; where an answer is under way, only close."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(written(self._fault))
        self.transport.close()

    def _on_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._fault = _TOO_SLOW
            self.send_400_response("")


def written(fault: RefusedError) -> bytes:
    """A whole answer that ends the connection."""
    body = fault.body()
    headers = [
        *fault.headers(),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *browser.SECURITY,
    ]
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%b%b\r\n%b" % (STATUS_LINE[fault.status], lines, body)
