"""Taking connections: each address gets so many, so that none can take all that there are.

An address is counted from the moment it is taken on, before a handshake of TLS: who never ends one holds a place too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import time
from collections.abc import Callable

from comfyops.gateway.connection import written
from comfyops.gateway.limits import Place, Places
from comfyops.gateway.refusal import RefusedError

log = logging.getLogger("comfyops.gateway")

Make = Callable[..., asyncio.Protocol]
"""Makes what speaks with a client; `leave` is called when the connection has ended."""

_AT_ONCE = 100  # connections that are taken before others have their turn
_HANDSHAKE = 30.0  # seconds in which one of TLS must have ended
_PAUSE = 0.1  # seconds to wait where no more files may be open
_QUIET = 60.0  # seconds in which the log says such a thing once
_FULL = written(RefusedError(429, "too_many_connections", "Your address has too many connections open.", retry_after=5))


class Acceptor:
    """Takes connections of a bound socket until it is closed; it does what uvicorn needs of a server of asyncio."""

    def __init__(self, sock: socket.socket, make: Make, places: Places, context: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._make = make
        self._places = places
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._said_at = 0.0
        self._taking = self._loop.create_task(self._take())
        self._taking.add_done_callback(lambda _: sock.close())

    def close(self) -> None:
        """Take no more; connections that have begun go on."""
        self._taking.cancel()
        for task in self._beginning:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing more is taken."""
        await asyncio.gather(self._taking, *self._beginning, return_exceptions=True)

    async def _take(self) -> None:
        while True:
            try:
                self._arrived(*await self._loop.sock_accept(self._sock))
                for _ in range(_AT_ONCE):
                    self._arrived(*self._sock.accept())
                await asyncio.sleep(0)
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                self._say(f"connections have to wait: {error.strerror or error}")
                await asyncio.sleep(_PAUSE)

    def _arrived(self, sock: socket.socket, address: object) -> None:
        sock.setblocking(False)
        peer = str(address[0]) if isinstance(address, tuple) else ""  # a unix socket has none
        place = self._places.take(peer)
        if place is None:
            self._turn_away(sock, peer)
            return
        task = self._loop.create_task(self._begin(sock, place))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, sock: socket.socket, place: Place) -> None:
        make = functools.partial(self._make, leave=place.leave)
        patience = _HANDSHAKE if self._context is not None else None
        try:
            await self._loop.connect_accepted_socket(make, sock, ssl=self._context, ssl_handshake_timeout=patience)
        except BaseException as error:
            place.leave()
            if not isinstance(error, OSError):  # which a handshake that fails is
                raise

    def _turn_away(self, sock: socket.socket, peer: str) -> None:
        self._say(f"{peer} has {self._places.most} connections open and gets no more; of a proxy, say --trust-proxy")
        with contextlib.suppress(OSError), sock:
            if self._context is None:
                sock.send(_FULL)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)  # what was not read would reset the connection, and the answer with it

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if now - self._said_at > _QUIET:
            self._said_at = now
            log.warning("%s", words)
