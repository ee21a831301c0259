"""A client's websocket connection: uvicorn's, with refusals in our own form, and bounded also for who never reads."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from comfyops.gateway.connection import written
from comfyops.gateway.refusal import RefusedError

_NO_HANDSHAKE = RefusedError(400, "bad_handshake", "The request is not the handshake of a websocket.")


class SocketConnection(WebSocketsSansIOProtocol):
    """One client's websocket; `leave` hears of its end."""

    leave: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a client. While it takes nothing, nothing more is read of it: each ping has to be answered."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse()
        elif not self.writable.is_set() and not self.transport.is_closing() and self.transport.is_reading():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it."""
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing() and not self.transport.is_reading():
            self.transport.resume_reading()

    def handle_connect(self, event: Request) -> None:
        """A handshake, or what looks like one."""
        if self.conn.accept(event).status_code == 101:
            super().handle_connect(event)
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(written(_NO_HANDSHAKE))
        self.transport.close()
