"""Websockets in odd forms: refused in the gateway's own words, or bounded, whatever their clients send."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyops.gateway.settings import Limits
from tests.unit.gateway.house import House, house

KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
RIGHT = ("Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13")
EMPTY = b'{"queue_running": [], "queue_pending": []}'
PING = b"\x89\xfd" + b"\0" * 4 + b"a" * 125


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def handshake(
    home: House, token: str, lines: tuple[str, ...], start: str = "GET /ws HTTP/1.1", body: bytes = b""
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """The head of the answer and the connection."""
    host, _, port = home.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "\r\n".join([start, "Host: 127.0.0.1", f"Authorization: Bearer {token}", *lines, "", ""])
    writer.write(head.encode() + body)
    async with asyncio.timeout(10):
        return await reader.readuntil(b"\r\n\r\n"), reader, writer


ODD: dict[str, tuple[str, ...]] = {
    "no key": (*RIGHT[:2], RIGHT[3]),
    "a short key": (*RIGHT[:2], "Sec-WebSocket-Key: AAAA", RIGHT[3]),
    "another version": (*RIGHT[:3], "Sec-WebSocket-Version: 8"),
    "no version": RIGHT[:3],
    "a body": (*RIGHT, "Content-Length: 4"),
    "chunks": (*RIGHT, "Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_a_handshake_that_is_none_gets_an_answer_and_the_end(home: House, odd: str) -> None:
    head, reader, writer = await handshake(home, home.token("a"), ODD[odd], body=b"abcd" if odd == "a body" else b"")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert b" 400 " in head and b"nosniff" in head and json.loads(answer)["error"]["code"] == "bad_handshake"


@pytest.mark.parametrize("lines", [(), ("Upgrade: h2c", "Connection: Upgrade"), ("Upgrade: websocket",)])
async def test_a_request_without_an_upgrade_is_told_so(home: House, lines: tuple[str, ...]) -> None:
    head, _, writer = await handshake(home, home.token("a"), lines)
    writer.close()
    assert b" 426 " in head


async def test_another_method_is_no_handshake(home: House) -> None:
    head, _, writer = await handshake(home, home.token("a"), RIGHT, "POST /ws HTTP/1.1")
    writer.close()
    assert b" 400 " in head


async def test_who_pings_and_reads_nothing_is_not_read_any_further(home: House) -> None:
    head, _, writer = await handshake(home, home.token("a"), RIGHT)
    assert b" 101 " in head
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    sent, pings = 0, PING * 2000
    with pytest.raises(TimeoutError):  # all that lies between the two is full, and stays so
        while sent < 64 * 1024 * 1024:
            writer.write(pings)
            await asyncio.wait_for(writer.drain(), 2)
            sent += len(pings)
    assert (await home.ask("GET", "/queue", home.token("b")))[0] == 200
    writer.transport.abort()


async def test_who_pings_and_reads_gets_every_answer(home: House) -> None:
    head, reader, writer = await handshake(home, home.token("a"), RIGHT)
    assert b" 101 " in head
    count, pong = 5_000, b"\x8a\x7d" + b"a" * 125
    got = b""

    async def read() -> None:
        nonlocal got
        while got.count(pong) < count:
            got += await reader.read(1 << 20)

    async with asyncio.timeout(30):
        reading = asyncio.create_task(read())
        writer.write(PING * count)
        await writer.drain()
        await reading
    writer.close()


async def test_a_server_that_answers_no_handshake_is_a_502(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /ws"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(EMPTY), EMPTY))
            heard.set()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    backend = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with house(tmp_path, backend=backend, limits=Limits(socket_seconds=0.3)) as home:
        head, _, writer = await handshake(home, home.token("a"), RIGHT)
        writer.close()
        assert b" 502 " in head and heard.is_set()
    server.close()
