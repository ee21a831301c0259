"""The websockets of a simulated server: who gets which message, in which order.

A socket is known by its client id. A second socket with the same id takes the place of the first; when the first one
closes, the id is forgotten and the second stays open and silent (the real server's behaviour).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PREVIEW_IMAGE = 1
TEXT = 3
PREVIEW_IMAGE_WITH_METADATA = 4

Message = str | bytes
_BACKLOG = 64 * 1024 * 1024  # bytes kept for a socket that does not read; then it is cut


@dataclass(eq=False)
class Connection:
    """One open socket: what it can do, and the messages that wait for it."""

    sid: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    flags: Mapping[str, Any] = field(default_factory=dict)
    outbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    waiting: int = 0  # length of what is in the outbox
    sent: int = 0

    def put(self, message: Message) -> None:
        """Queue a message, or cut the socket where too much waits already."""
        self.waiting += len(message)
        if self.waiting > _BACKLOG:
            self.cut()
        else:
            self.outbox.put_nowait(message)

    def cut(self, *, flush: bool = False) -> None:
        """End the connection without a closing message; `flush` still sends what was handed to the network."""
        if self.transport is not None:
            (self.transport.close if flush else self.transport.abort)()


class Sockets:
    """All sockets. `publish` never waits: each socket has a queue of its own.

    With `shared_queue` one queue serves all, as in the real server: a socket that stops reading then blocks the others.
    `drop_after` closes each socket after so many messages (0 = never).
    """

    def __init__(self, *, shared_queue: bool = False, drop_after: int = 0) -> None:
        self._by_id: dict[str, Connection] = {}
        self._open: set[Connection] = set()
        self._shared: asyncio.Queue[tuple[Message, Any]] | None = asyncio.Queue() if shared_queue else None
        self._drop_after = drop_after

    def connect(self, client_id: str, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> Connection:
        """Register a socket; without a client id it gets one."""
        connection = Connection(client_id or uuid.uuid4().hex, socket, transport)
        self._by_id[connection.sid] = connection
        self._open.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Forget the client id of a closed socket, whoever uses it now."""
        self._open.discard(connection)
        self._by_id.pop(connection.sid, None)

    def supports(self, client_id: object, flag: str) -> bool:
        """Whether the socket of this client negotiated a feature."""
        connection = self._by_id.get(client_id) if isinstance(client_id, str) else None
        return bool(connection and connection.flags.get(flag))

    def publish_json(self, event: str, data: Any, client_id: object = None) -> None:
        """Send {"type", "data"} to one client, or to all where the client id is None."""
        if self._shared is None and not self._receivers(client_id):
            return  # progress of long graphs is large; nobody would read it
        self._publish(json.dumps({"type": event, "data": data}), client_id)

    def publish_bytes(self, event: int, data: bytes, client_id: object = None) -> None:
        """Send a binary message: its type as 32 bits, big endian, then the data."""
        self._publish(struct.pack(">I", event) + data, client_id)

    async def serve(self) -> None:
        """Pass on the messages of the shared queue; runs until cancelled."""
        while self._shared is not None:
            message, client_id = await self._shared.get()
            for connection in self._receivers(client_id):
                await self._send(connection, message)

    async def serve_one(self, connection: Connection) -> None:
        """Pass on the messages of one socket; runs until it closes."""
        while not connection.socket.closed:
            message = await connection.outbox.get()
            await self._send(connection, message)
            connection.waiting -= len(message)

    def abort(self) -> None:
        """Cut all sockets without a closing message, as a dying process does."""
        for connection in list(self._open):
            connection.cut()

    async def close(self) -> None:
        """Close all sockets."""
        for connection in list(self._open):
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
                await asyncio.wait_for(connection.socket.close(), 1)

    def _publish(self, message: Message, client_id: object) -> None:
        if self._shared is not None:
            self._shared.put_nowait((message, client_id))
            return
        for connection in self._receivers(client_id):
            connection.put(message)

    def _receivers(self, client_id: object) -> list[Connection]:
        if client_id is None:
            return list(self._by_id.values())
        connection = self._by_id.get(client_id) if isinstance(client_id, str) else None
        return [connection] if connection else []

    async def _send(self, connection: Connection, message: Message) -> None:
        with contextlib.suppress(ConnectionError):
            if isinstance(message, str):
                await connection.socket.send_str(message)
            else:
                await connection.socket.send_bytes(message)
        connection.sent += 1
        if self._drop_after and connection.sent >= self._drop_after:
            connection.cut(flush=True)
