"""Connections of one address: so many at once, of whatever kind, so that others get theirs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from comfyops.config import AuthSettings
from comfyops.gateway.limits import Place, Places
from comfyops.gateway.opened import Opened
from comfyops.gateway.proxies import Proxies
from comfyops.gateway.serving import Listen, serving
from comfyops.gateway.settings import BackendAddress, GatewaySettings, Limits
from tests.unit.gateway.house import ROUNDS, House, house
from tests.unit.gateway.wire import listening_server

ME, OTHER = "127.0.0.1", "127.0.0.2"
ASKED = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ODD = (
    b"",
    ASKED,
    b"GET /health HTT",
    b"\x16\x03\x01 no HTTP\r\n\r\n",
    ASKED + ASKED,
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        """The head and the body of what is answered to a request; the connection stays open."""
        self.writer.write(ASKED)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        return head + await self.reader.readexactly(int(length.split(b":")[1]))


@asynccontextmanager
async def connected(url: str, source: str = ME) -> AsyncIterator[Client]:
    """A connection from an address of this machine."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
    try:
        async with asyncio.timeout(20):
            yield Client(reader, writer)
    finally:
        writer.close()


async def held(stack: AsyncExitStack, url: str, count: int, source: str = ME) -> list[bool]:
    """Hold so many connections more; whether each of them is served."""
    found = [await stack.enter_async_context(connected(url, source)) for _ in range(count)]
    return [b"200 OK" in await client.answer() for client in found]


async def until_served(url: str, count: int) -> None:
    """Wait until so many connections are served at once."""
    async with asyncio.timeout(20):
        while True:
            async with AsyncExitStack() as stack:
                if all(await held(stack, url, count)):
                    return
            await asyncio.sleep(0.02)


async def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(connections=5)) as home, AsyncExitStack() as stack:
        assert await held(stack, home.url, 5) == [True] * 5
        async with connected(home.url) as client:
            answer = await client.answer()
            assert answer.startswith(b"HTTP/1.1 429 ") and b'"code": "too_many_connections"' in answer
            assert b"retry-after: 5\r\n" in answer and b"connection: close\r\n" in answer
            assert await client.reader.read() == b"", "it is not held open"
        async with aiohttp.request("GET", f"{home.url}/health") as refused:
            assert refused.status == 429
        assert await held(stack, home.url, 5, OTHER) == [True] * 5
        await stack.aclose()
        await until_served(home.url, 5)


async def test_websockets_count(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(connections=3)) as home:
        bearer = {"Authorization": f"Bearer {home.token('a')}"}

        async def opened() -> aiohttp.ClientWebSocketResponse | None:
            try:
                return await home.session.ws_connect(f"{home.url}/ws", headers=bearer)
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == 429
                return None

        sockets = [await opened() for _ in range(4)]
        assert [websocket is None for websocket in sockets] == [False, False, False, True]
        assert sockets[0] is not None
        await sockets[0].close()
        async with asyncio.timeout(20):
            while (last := await opened()) is None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
        assert await opened() is None
        assert (await last.receive_json(timeout=20))["type"] == "status"


async def test_a_trusted_proxy_may_have_more_as_many_come_by_it(tmp_path: Path) -> None:
    options = {"limits": Limits(connections=2), "proxies": Proxies.of([ME])}
    async with house(tmp_path, **options) as home, AsyncExitStack() as stack:
        assert await held(stack, home.url, 6) == [True] * 6
        assert await held(stack, home.url, 3, OTHER) == [True, True, False]


async def test_the_listener_without_credentials_counts_nobody(tmp_path: Path) -> None:
    async with listening_server() as (backend, _), AsyncExitStack() as stack:
        settings = GatewaySettings((BackendAddress(backend),), limits=Limits(connections=2))
        for number, place in enumerate((("127.0.0.1", 0), tmp_path / "socket")):
            listen = Listen(port=0, opened=Opened(place))
            auth = AuthSettings(bcrypt_rounds=ROUNDS)
            served = await stack.enter_async_context(serving(settings, auth, tmp_path / str(number), listen))
            assert served.opened is not None
            if isinstance(place, tuple):
                assert await held(stack, served.opened, 5) == [True] * 5
                assert await held(stack, served.url, 3) == [True, True, False], "each listener counts by itself"
                continue
            clients = [Client(*await asyncio.open_unix_connection(place)) for _ in range(5)]
            assert all([b"200 OK" in await client.answer() for client in clients])
            for client in clients:
                client.writer.close()


async def ended_oddly(home: House, data: bytes, how: int) -> None:
    """A connection that says something and is closed, reset, or left alone until the gateway has closed it."""
    async with connected(home.url) as client:
        client.writer.write(data)
        if how == 0:
            client.writer.transport.abort()
        elif how == 1:
            client.writer.write_eof()
            await client.reader.read(100)


async def test_however_a_connection_ends_its_place_is_free_again(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(connections=4)) as home:
        for data, how in itertools.product(ODD, range(3)):
            await ended_oddly(home, data, how)
        await until_served(home.url, 4)
        async with AsyncExitStack() as stack:
            assert (await held(stack, home.url, 5)).count(True) == 4, "nor is a place free twice"


def test_an_address_has_so_many_places_and_is_forgotten_without_one() -> None:
    places = Places(2, Proxies.of(["10.0.0.9"]))
    same = ("10.0.0.7", "::ffff:10.0.0.7", "10.0.0.7")
    taken = [places.take(address) for address in same]
    assert [place is None for place in taken] == [False, False, True] and len(places) == 1
    assert all(places.take(address) is not None for address in ("10.0.0.8", "", "") + ("10.0.0.9",) * 5)
    site = [places.take(f"2001:db8:0:1::{number}") for number in range(1, 4)]
    assert [place is None for place in site] == [False, False, True], "one customer has a whole /64 of IPv6"
    assert places.take("2001:db8:0:2::1") is not None and len(places) == 4
    first = taken[0]
    assert isinstance(first, Place)
    first.leave()
    first.leave()
    assert places.take("10.0.0.7") is not None and places.take("10.0.0.7") is None
    many = Places(1)
    for number in range(10_000):
        one = many.take(f"10.1.{number // 250}.{number % 250}")
        assert one is not None
        one.leave()
    assert len(many) == 0
