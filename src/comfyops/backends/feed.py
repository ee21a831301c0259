"""The websocket of a client: one connection, kept open, read without pause, its events dealt out to channels.

A server sends to all its sockets in turn and waits for each, so one that is not read stops the messages of everybody.
Therefore the socket is always read, and channels keep what their readers have not taken yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from comfyops.backends import messages
from comfyops.backends.channel import Channel, Look
from comfyops.backends.events import Event, NodeStarted, NodeText, Preview, Started
from comfyops.backends.http import Http
from comfyops.backends.messages import Ended, Ending, FlagsAgreed, QueueChanged, SignedPreview, Text, UnsignedPreview

_MAX_FRAME = 128 * 1024 * 1024  # bytes
_MAX_CHANNELS_UNREAD = 256
_PATIENCE = 3.0  # seconds that a first submit waits for the socket
_HEARTBEAT = 30.0  # seconds between pings; a peer that does not answer half of it later counts as gone


class Feed:
    """Keeps the websocket of `client_id` open while somebody listens, and deals events out by run.

    `first_pause` and `longest_pause` are the seconds between attempts to connect, doubled each time, with jitter.
    """

    def __init__(self, http: Http, client_id: str, *, first_pause: float = 0.2, longest_pause: float = 15.0) -> None:
        self.client_id = client_id
        self.server = http.url
        self.connected = False
        self.connections = 0
        self.alive = time.monotonic()  # when the server's worker last gave a sign of life
        self._quiet_since = self.alive  # the same, or when the socket was last opened
        self._futile = 0  # how often the socket was replaced without hearing anything since
        self._http = http
        self._pauses = (first_pause, longest_pause)
        self._channels: dict[str, list[Channel]] = {}
        self._unread: OrderedDict[str, Channel] = OrderedDict()
        self._signed = False
        self._current = ("", "")  # run and node that the worker is at, as far as this socket told
        self._last_node = ("", "")  # the same as any socket told
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._hopeless = False
        self._wanted = asyncio.Event()
        self._awake = asyncio.Event()

    async def open(self) -> None:
        """See that the socket is open, or was tried; without one, runs are followed by asking.

        Where none could be opened ever, only the first calls wait for it.
        """
        self._wanted.set()
        if self.connected:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_open(), name="comfyops-feed")
        self.wake()
        if not self._hopeless:
            self._tried.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), _PATIENCE)
            self._hopeless = self.connections == 0

    def wake(self) -> None:
        """Try to connect now, instead of after the pause."""
        if not self.connected:
            self._awake.set()

    async def close(self) -> None:
        """Close the socket and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def expect(self, run_id: str) -> None:
        """Keep the events of a run from now on, for whoever listens to it first."""
        self._unread[run_id] = self._add(run_id)
        while len(self._unread) > _MAX_CHANNELS_UNREAD:
            self._remove(self._unread.popitem(last=False)[1])

    def forget(self, run_id: str) -> None:
        """Take an `expect` back."""
        channel = self._unread.pop(run_id, None)
        if channel is not None:
            self._remove(channel)

    def expects(self, run_id: str) -> bool:
        """Whether events of this run are kept for a first listener."""
        return run_id in self._unread

    @contextmanager
    def listen(self, run_id: str) -> Iterator[Channel]:
        """The channel of a run; the first listener gets what was kept since `expect`."""
        channel = self._unread.pop(run_id, None)
        if channel is None:
            channel = self._add(run_id)
        try:
            yield channel
        finally:
            self._remove(channel)

    def nudge(self, run_id: str) -> None:
        """Have the listeners of a run look at the server now."""
        for channel in self._channels.get(run_id, ()):
            channel.put(Look(ending=True, sure=True))

    async def replace_if_silent(self, seconds: float) -> None:
        """Replace a socket that brought nothing for so long (longer each time): the server may have lost it silently.

        The old one is closed first: a server that sees it go later would drop the new one of the same client id.
        """
        patience = seconds * 2 ** min(self._futile, 5)
        if self._socket is not None and time.monotonic() - self._quiet_since >= patience:
            self._futile += 1
            self._quiet_since = time.monotonic()
            await self._socket.close()

    def _add(self, run_id: str) -> Channel:
        channel = Channel(run_id)
        self._channels.setdefault(run_id, []).append(channel)
        self._wanted.set()
        return channel

    def _remove(self, channel: Channel) -> None:
        others = [other for other in self._channels.get(channel.run_id, ()) if other is not channel]
        if others:
            self._channels[channel.run_id] = others
        else:
            self._channels.pop(channel.run_id, None)

    async def _keep_open(self) -> None:
        first, longest = self._pauses
        pause = first
        while True:
            if await self._follow():
                pause = first
            self._tell_all(Look())
            if not self._channels:
                self._wanted.clear()
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)
            await self._wanted.wait()

    async def _follow(self) -> bool:
        """One connection from begin to end; False where there was none."""
        try:
            async with await self._connect() as socket:
                await self._opened(socket)
                async for frame in socket:
                    self._take(frame)
                return True
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return False
        finally:
            self._socket, self.connected = None, False
            self._current = ("", "")
            self._tried.set()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(self._http.timeout):
            return await self._http.session().ws_connect(
                self._http.address("/ws"),
                params={"clientId": self.client_id},
                heartbeat=_HEARTBEAT,
                max_msg_size=_MAX_FRAME,
                compress=0 if self._http.is_loopback else 15,
            )

    async def _opened(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str(messages.FEATURE_FLAGS)
        self._socket, self.connected, self._signed = socket, True, False
        self.connections += 1
        self._hopeless = False
        self._quiet_since = time.monotonic()
        self._tried.set()
        self._tell_all(Look())

    def _take(self, frame: aiohttp.WSMessage) -> None:
        if frame.type is aiohttp.WSMsgType.TEXT:
            message = messages.parse_text(frame.data)
        elif frame.type is aiohttp.WSMsgType.BINARY:
            message = messages.parse_binary(frame.data)
        else:
            return
        if isinstance(message, FlagsAgreed):
            self._signed = message.preview_metadata
        elif isinstance(message, QueueChanged):
            self._tell_all(Look())
        elif message is not None:
            self._hear(message)
            self._deal(message)

    def _hear(self, message: messages.Message) -> None:
        """Note a sign of life; a new socket is told the current node again, which is none."""
        if isinstance(message, NodeStarted):
            node = (message.run_id, message.node)
            if node == self._last_node:
                return
            self._last_node = node
        self.alive = self._quiet_since = time.monotonic()
        self._futile = 0

    def _deal(self, message: messages.Message) -> None:
        match message:
            case messages.Working() | FlagsAgreed() | QueueChanged():
                pass
            case Ending():
                self._send(message.run_id, Look(ending=True))
            case Ended():
                self._current = ("", "")
                self._send(message.run_id, Look(ending=True, sure=True))
            case SignedPreview():
                self._send(message.run_id, Preview(message.run_id, message.node, message.mime_type, message.data))
            case UnsignedPreview():
                self._send_unsigned(message)
            case Text():
                self._send(self._current[0], NodeText(self._current[0], message.node, message.text))
            case _:
                self._note(message)
                self._send(message.run_id, message)

    def _note(self, event: Event) -> None:
        if isinstance(event, Started):
            self._current = (event.run_id, "")
        elif isinstance(event, NodeStarted):
            self._current = (event.run_id, event.node)

    def _send_unsigned(self, message: UnsignedPreview) -> None:
        """A preview without a run's id is ours only while one of our runs is at work and no signed ones were agreed."""
        run_id, node = self._current
        if run_id and not self._signed:
            self._send(run_id, Preview(run_id, node, message.mime_type, message.data))

    def _send(self, run_id: str, item: Event | Look) -> None:
        for channel in self._channels.get(run_id, ()):
            channel.heard = True
            channel.put(item)

    def _tell_all(self, hint: Look) -> None:
        for channels in self._channels.values():
            for channel in channels:
                channel.put(hint)
