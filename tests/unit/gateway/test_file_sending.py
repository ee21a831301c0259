"""Files that threads send past the event loop."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from comfyops.gateway import file_sending
from tests.unit.gateway.house import DurableHouse, durable_house

SIZE = 37 * 1024 * 1024 + 11  # more than two turns of a thread


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.Transport, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Our side of a connection, and both directions of the client's."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Ours(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set_result(transport)  # type: ignore[arg-type]

    server = await loop.create_server(Ours, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = await accepted
        try:
            yield transport, reader, writer
        finally:
            writer.close()
            transport.abort()
    finally:
        server.close()


async def test_every_byte_of_a_part_comes(file: Path) -> None:
    async with connected() as (transport, reader, _):
        sending = asyncio.create_task(file_sending.send(transport, file, 5, SIZE - 7, 20.0))
        got = await reader.readexactly(SIZE - 12)
        await sending
    assert hash(got) == hash(file.read_bytes()[5:-7])  # which a failure can show


async def test_a_client_that_takes_nothing_is_given_up(file: Path) -> None:
    async with connected() as (transport, _, _):
        with pytest.raises(TimeoutError):
            await file_sending.send(transport, file, 0, SIZE, 0.1)


async def test_a_client_that_goes_away_ends_it(file: Path) -> None:
    async with connected() as (transport, reader, writer):
        sending = asyncio.create_task(file_sending.send(transport, file, 0, SIZE, 20.0))
        await reader.readexactly(1000)
        writer.transport.abort()
        with pytest.raises(ConnectionError):
            await sending


async def test_it_can_be_cancelled_while_the_client_takes_nothing(file: Path) -> None:
    async with connected() as (transport, reader, _):
        sending = asyncio.create_task(file_sending.send(transport, file, 0, SIZE, 20.0))
        await reader.readexactly(1000)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_a_file_that_became_shorter_is_a_failure(file: Path) -> None:
    async with connected() as (transport, reader, _):
        sending = asyncio.create_task(file_sending.send(transport, file, 0, SIZE + 1, 20.0))
        await reader.readexactly(SIZE)
        with pytest.raises(EOFError):
            await sending
    with pytest.raises(EOFError):
        [_ async for _ in file_sending.pieces(file, 0, SIZE + 1)]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    async with durable_house(tmp_path / "home", dispatch=False) as made:
        yield made


async def test_one_connection_serves_files_and_other_things_in_turn(home: DurableHouse, file: Path) -> None:
    headers, data = {"Authorization": f"Bearer {home.token('ann')}"}, file.read_bytes()
    form = aiohttp.FormData()
    form.add_field("image", io.BytesIO(data), filename="a.bin", content_type="application/octet-stream")
    one = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(home.url, connector=one, headers=headers) as session:
        async with session.post("/upload/image", data=form) as answer:
            place = await answer.json()
        for part, status in (("", 200), ("bytes=1000-", 206), ("bytes=0-0", 206), ("", 200)):
            asked = {"Range": part} if part else {}
            async with session.get("/view", params={"filename": place["name"], "type": "input"}, headers=asked) as got:
                start, _, end = part.removeprefix("bytes=").partition("-")
                wanted = data[int(start or 0) : int(end) + 1 if end else None]
                assert (got.status, hash(await got.read())) == (status, hash(wanted))
            async with session.get("/queue") as answer:
                assert answer.status == 200 and (await answer.json())["queue_running"] == []


async def test_requests_that_come_at_once_are_answered_in_turn(home: DurableHouse, file: Path) -> None:
    token, data = home.token("ann"), file.read_bytes()
    form = aiohttp.FormData()
    form.add_field("image", io.BytesIO(data), filename="a.bin")
    assert (await home.ask("POST", "/upload/image", token, data=form))[0] == 200
    host, _, port = home.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = f"HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    targets = ["/view?type=input&filename=a.bin", "/queue", "/view?type=input&filename=a.bin", "/queue"]
    writer.write("".join(f"GET {target} {lines}" for target in targets).encode())
    async with asyncio.timeout(20):
        for target in targets:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = await reader.readexactly(size)
            assert head.startswith("http/1.1 200") and (hash(body) == hash(data)) == target.startswith("/view")
    writer.close()
