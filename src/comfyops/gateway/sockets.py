"""Websockets: each client gets what its server tells it, and only that.

A server sends a client what belongs to the client_id it gave, so every client_id is put into its owner's own space. The
server blocks every socket when one reads too slowly; here each message is taken from it at once, and waits in a bounded
queue for its client, who is cut where it grows too long or stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from comfyops.gateway import owners
from comfyops.gateway.exchange import Receive, Send
from comfyops.gateway.prompts import LONGEST_CLIENT
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.server import Server
from comfyops.gateway.settings import Limits

Message = str | bytes

CUT = 1013  # close code: try again later
_GONE = 1012  # the server ended
REVOKED = 1008  # the credential is no longer right
LARGEST_IN = 1024 * 1024  # bytes of a message of a client


def client_name(owner: str, client: str) -> str:
    """The name under which a server knows a client of an owner."""
    return f"{owners.space(owner)}.{client}"


class Outbox:
    """Messages that wait for one client, bounded by their size."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: deque[Message] = deque()
        self._size = 0
        self._news = asyncio.Event()

    def put(self, message: Message) -> bool:
        """Add a message; False where too much waits already."""
        self._messages.append(message)
        self._size += len(message)
        self._news.set()
        return self._size <= self._limits.socket_bytes

    async def deliver(self, send: Send) -> None:
        """Send what comes, until cancelled. Raises TimeoutError where the client takes nothing for too long."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                self._size -= len(message)
                kind = "text" if isinstance(message, str) else "bytes"
                async with asyncio.timeout(self._limits.socket_seconds):
                    await send({"type": "websocket.send", kind: message})
            self._news.clear()
            await self._news.wait()


class Relay:
    """One client's socket and the one to its server."""

    def __init__(self, server: Server, owner: str, client: str, limits: Limits, files: owners.Owners) -> None:
        self.server = server
        self.owner = owner
        self.client = client or uuid.uuid4().hex
        self._given = bool(client)
        self._limits = limits
        self._files = files
        self._outbox = Outbox(limits)
        self._task: asyncio.Task[int] | None = None
        self.ended = asyncio.Event()

    @property
    def key(self) -> tuple[str, str]:
        """What no two sockets of a server may share: the older one's end would silence the newer one."""
        return self.owner, self.client

    def end(self) -> None:
        """End it, from outside."""
        if self._task is not None:
            self._task.cancel()

    async def run(self, session: aiohttp.ClientSession, receive: Receive, send: Send) -> None:
        """Connect to the server, accept the client, and pass messages until one side ends."""
        address = f"{self.server.address.url}/ws?clientId={quote(client_name(self.owner, self.client), safe='')}"
        credential = self.server.address.credential
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        try:
            async with asyncio.timeout(self._limits.socket_seconds):
                upstream = await session.ws_connect(address, headers=headers, max_msg_size=0, autoping=True)
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.ended.set()
            raise RefusedError(502, "backend_unreachable", "The backend does not take websockets now.") from None
        try:
            await send({"type": "websocket.accept"})
            code = await self._both(upstream, receive, send)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(send({"type": "websocket.close", "code": code}), 1)
        finally:
            await upstream.close()
            self.ended.set()

    async def _both(self, upstream: aiohttp.ClientWebSocketResponse, receive: Receive, send: Send) -> int:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[int]] = [
            loop.create_task(self._from_server(upstream)),
            loop.create_task(self._from_client(upstream, receive)),
            loop.create_task(self._to_client(send)),
        ]
        self._task = loop.create_task(first_of(tasks))
        try:
            return await self._task
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return REVOKED
        finally:
            for task_ in tasks:
                task_.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _from_server(self, upstream: aiohttp.ClientWebSocketResponse) -> int:
        async for message in upstream:
            self.server.news()
            data: Any = message.data
            if message.type is aiohttp.WSMsgType.TEXT:
                data = self._seen(data)
            elif message.type is not aiohttp.WSMsgType.BINARY:
                continue
            if not self._outbox.put(data):
                return CUT
        return _GONE

    async def _from_client(self, upstream: aiohttp.ClientWebSocketResponse, receive: Receive) -> int:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return 1000
            text = message.get("text")
            # The server understands one message, about features, and ignores the rest; nothing else is passed on.
            if message["type"] == "websocket.receive" and text and len(text) < LARGEST_IN and '"feature_flags"' in text:
                with contextlib.suppress(ValueError, RecursionError):
                    data = json.loads(text)
                    if isinstance(data, dict) and data.get("type") == "feature_flags":
                        await upstream.send_str(text)

    async def _to_client(self, send: Send) -> int:
        try:
            await self._outbox.deliver(send)
        except TimeoutError:
            return CUT
        return 1000

    def _seen(self, text: str) -> str:
        """A message, with the client's own name for itself; files it tells of are the owner's from now on."""
        start = text[:40]
        if '"status"' in start and '"sid"' in text:
            return self._renamed(text)
        if '"executed"' in start:
            with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
                data = json.loads(text)["data"]
                self._files.add_files(self.owner, owners.files_in({"": data["output"]}))
        return text

    def _renamed(self, text: str) -> str:
        try:
            data = json.loads(text)
            if "sid" in data["data"]:
                data["data"]["sid"] = self.client
            return json.dumps(data)
        except (ValueError, KeyError, TypeError):
            return text


async def first_of(tasks: list[asyncio.Task[int]]) -> int:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = next(iter(done))
    return 1011 if first.exception() is not None else first.result()


class Sockets:
    """All open sockets."""

    def __init__(self, limits: Limits, files: owners.Owners) -> None:
        self._limits = limits
        self._files = files
        self._open: dict[tuple[str, str], Relay] = {}
        self._session: aiohttp.ClientSession | None = None

    async def relay(
        self, server: Server, owner: str, client: str, receive: Receive, send: Send, *, known: Callable[[Relay], None]
    ) -> None:
        """Serve one client until it ends. Raises RefusedError before it was accepted."""
        if len(client) > LONGEST_CLIENT:
            raise RefusedError(400, "invalid_client_id", "The clientId is too long.")
        relay = Relay(server, owner, client, self._limits, self._files)
        older = self._open.get(relay.key)
        self._open[relay.key] = relay
        if older is not None:  # a server keeps a later socket of the same name silent once the older one ends
            older.end()
            await older.ended.wait()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
            )
        known(relay)
        try:
            await relay.run(self._session, receive, send)
        finally:
            relay.ended.set()
            if self._open.get(relay.key) is relay:
                del self._open[relay.key]

    def __len__(self) -> int:
        return len(self._open)

    def all(self) -> list[Relay]:
        """Every open socket."""
        return list(self._open.values())

    async def close(self) -> None:
        """End all of them."""
        for relay in self.all():
            relay.end()
        if self._session is not None:
            await self._session.close()
