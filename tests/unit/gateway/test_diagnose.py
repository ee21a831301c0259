"""`diagnose` against servers of every kind: it ends in time, says why, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from comfyops.errors import UnreachableError, UsageError
from comfyops.gateway.diagnose import diagnose, probes
from tests.fake_login import HASH, login_server
from tests.unit.gateway.house import house

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[str]:
    """A server that does whatever `handler` does with a connection."""
    open_ones: set[asyncio.Task[None]] = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def another_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("handler", "words"),
    [(silent, "in time"), (drips, "in time"), (another_protocol, "HTTP"), (hangs_up, "HTTP")],
)
async def test_what_is_no_http_server_is_said_after_one_probe(handler: Handler, words: str) -> None:
    async with raw_server(handler) as url:
        with pytest.raises(UnreachableError, match=words):
            await diagnose(url, timeout=0.5)


async def test_a_server_that_stops_answering_does_not_take_a_timeout_a_probe() -> None:
    asked: list[bytes] = []

    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if len(asked) > 5:
                await reader.read()
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(stops) as url:
        outcomes = await diagnose(url, timeout=0.3)
    assert len(outcomes) == len(probes(None)) and len(asked) == 5 + 3
    assert all(item.state == "broken" and "any more" in item.words for item in outcomes[8:])


async def test_a_token_that_counts_still_is_a_way_in(tmp_path: Path) -> None:
    async with login_server() as server:
        bad = {item.name for item in await diagnose(server.url, HASH, stale=HASH) if item.state == "open"}
    assert {"stale token", "stale token in the query", "websocket, stale token"} <= bad
    assert {"move in /userdata", "move in /api/userdata"} <= bad
    async with house(tmp_path) as home:
        token = home.token("old", "artist")
        home.store.tokens.revoke("old", home.store.clock())
        outcomes = await diagnose(home.url, home.token("new", "administrator"), stale=token)
    assert [item for item in outcomes if item.state != "ok"] == []


@pytest.mark.parametrize(
    "url",
    ["nonsense", "ftp://x", "http://", "http://[::1", "http://x:99999", "http://a:b@x", "http://x/?t=y", "http://x/#y"],
)
async def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        await diagnose(url)
