"""Bytes that are no honest request: answered or cut, never a fault, never a hang, never a way to the server."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from comfyops.gateway.connection import HEAD
from comfyops.gateway.settings import BackendAddress, Limits
from comfyops.simulator.settings import SimulatorSettings
from tests.unit.gateway.house import add_token, gateway_to, house
from tests.unit.gateway.wire import MARK, SMUGGLED, Heard, any_request, framing_tricks, listening_server, spoken

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
CASES = 20_000 if WHOLE else 400
AT_ONCE = 50
TELLS = (b"Traceback", b"uvicorn", b"Python", b"comfyops/", b"/site-packages", b"httptools", b"websockets/")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[str, str, Heard]]:
    """A gateway's address, a token, and what its server hears."""
    async with listening_server() as (backend, heard):
        limits = Limits(body_seconds=1.0)
        async with gateway_to(tmp_path, (BackendAddress(backend),), limits=limits) as (url, _, store, _):
            yield url, add_token(store, "a", "operator"), heard


def assert_in_order(statuses: list[int], back: bytes) -> None:
    assert all(code < 500 for code in statuses), back[:500]
    assert not any(tell in back for tell in TELLS), back[:500]
    assert b"\r\nserver:" not in back.lower()


@pytest.mark.parametrize("trick", framing_tricks(""))
@pytest.mark.parametrize("known", [False, True], ids=["nobody", "somebody"])
async def test_nothing_hides_in_a_request(place: tuple[str, str, Heard], trick: str, known: bool) -> None:
    url, token, heard = place
    statuses, back = await spoken(url, framing_tricks(token if known else "")[trick])
    assert_in_order(statuses, back)
    assert not heard.odd and b"/system_stats?smuggled" not in heard.targets()
    if not known or trick == "a credential after the body":
        assert heard.targets() == []


async def test_odd_requests_are_neither_faults_nor_hangs_and_reach_nothing(place: tuple[str, str, Heard]) -> None:
    url, token, heard = place
    chance = random.Random(5)
    for start in range(0, CASES, AT_ONCE):
        cases = [any_request(chance, "") for _ in range(AT_ONCE)]
        for data, (statuses, back) in zip(
            cases, await asyncio.gather(*(spoken(url, one) for one in cases)), strict=True
        ):
            assert all(code < 500 for code in statuses), (start, data[:500])
            assert_in_order(statuses, back)
    assert heard.targets() == []
    request = f"GET /queue?fuzz HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    assert (await spoken(url, request.encode()))[0] == [200]


async def test_odd_requests_of_somebody_known_reach_the_server_in_order(place: tuple[str, str, Heard]) -> None:
    url, token, heard = place
    chance = random.Random(6)
    for _ in range(0, CASES, AT_ONCE):
        cases = [any_request(chance, token) for _ in range(AT_ONCE)]
        for statuses, back in await asyncio.gather(*(spoken(url, data) for data in cases)):
            assert_in_order(statuses, back)
    assert not heard.odd and b"/system_stats?smuggled" not in heard.targets()
    assert heard.targets(), "some of them are requests like any other"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /queue?fuzz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2 * HEAD,
        b"GET /" + b"fuzz" * HEAD,
        b"GET /queue?fuzz HTTP/1.1\r\n" + b"a: b\r\n" * HEAD,
    ],
)
async def test_a_head_that_grows_too_large_is_cut(place: tuple[str, str, Heard], head: bytes) -> None:
    url, _, heard = place
    statuses, back = await spoken(url, head)
    assert statuses in ([431], [400], []) and len(back) < 2000 and heard.targets() == []


async def test_what_is_no_http_is_a_400_in_the_gateways_own_form(place: tuple[str, str, Heard]) -> None:
    url, _, _ = place
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(60)
    for data in (hello, b"EHLO example\r\n", b"\x00" * 30, b"GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n"):
        statuses, back = await spoken(url, data)
        assert statuses == [400] and b'"code": "bad_request"' in back and b"x-content-type-options" in back


async def test_a_body_that_stops_coming_is_a_408_and_holds_nothing(place: tuple[str, str, Heard]) -> None:
    url, token, _ = place
    head = "POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
    statuses, back = await spoken(url, f"{head}Authorization: Bearer {token}\r\n\r\n{{".encode())
    assert statuses == [408] and b"body_too_slow" in back


async def test_pipelined_requests_are_answered_in_order(place: tuple[str, str, Heard]) -> None:
    url, token, heard = place
    wanted = [f"/queue?fuzz{number}" for number in range(20)]
    one = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n"
    statuses, _ = await spoken(url, "".join(one.format(path, token) for path in wanted).encode())
    assert statuses == [200] * 20 and heard.targets() == [path.encode() for path in wanted]


async def test_many_connections_that_say_nothing_keep_nobody_out(place: tuple[str, str, Heard]) -> None:
    url, token, _ = place
    host, _, port = url.removeprefix("http://").rpartition(":")
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    for number, (_, writer) in enumerate(idle):
        writer.write((b"GET /queue?" + MARK, b"", SMUGGLED[:20])[number % 3])
    request = f"GET /queue?fuzz HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    assert (await spoken(url, request.encode()))[0] == [200]
    for _, writer in idle:
        writer.transport.abort()


@asynccontextmanager
async def endless_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server whose answer never ends; the event says that somebody has cut it."""
    cut = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while b"/queue" not in head:
                writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                await writer.drain()
        except ConnectionError:
            cut.set()
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
    finally:
        server.close()


@pytest.mark.parametrize("leaves", [True, False], ids=["who goes away", "who reads nothing"])
async def test_a_long_answer_ends_with_the_client_it_is_for(tmp_path: Path, leaves: bool) -> None:
    async with endless_server() as (backend, cut):
        limits = Limits(body_seconds=60.0 if leaves else 0.5)
        async with gateway_to(tmp_path, (BackendAddress(backend),), limits=limits) as (url, _, store, _):
            token = add_token(store, "a", "operator")
            host, _, port = url.removeprefix("http://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(f"GET /view?x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            assert b"200" in await reader.readline()
            if leaves:
                writer.transport.abort()
            async with asyncio.timeout(20):
                await cut.wait()
            writer.close()


def test_a_gateway_may_have_as_many_connections_as_the_system_lets_it() -> None:
    code = (
        "import resource; soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard));"
        "from comfyops.gateway.listener import allow_connections;"
        "assert allow_connections() == min(hard, 65536) if hard > 0 else 65536;"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
async def test_a_date_that_no_server_can_read_is_not_passed_on(tmp_path: Path, name: str) -> None:
    async with house(tmp_path, simulated=SimulatorSettings(port=0)) as home:
        token, form = home.token("ann"), aiohttp.FormData()
        form.add_field("image", b"bytes of a picture", filename="a.png")
        assert (await home.ask("POST", "/upload/image", token, data=form))[0] == 200
        for year in ("999999999999", "9" * 6_000):
            headers = {name: f"Thu, 01 Jan {year} 00:00:00 GMT", "Range": "bytes=0-3"}
            status, _ = await home.ask("GET", "/view?filename=a.png&type=input", token, headers=headers)
            assert status == 206
