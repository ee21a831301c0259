"""`diagnose` against servers of every kind: it ends in time, says why, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

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


Answer = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server that answers everything so: its address, and what it was asked."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


def sends_to(address: str, status: int = 302) -> Answer:
    return lambda request: web.Response(status=status, headers={"Location": address})


async def states(url: str, token: str | None = None) -> dict[str, str]:
    return {item.name: item.state for item in await diagnose(url, token) if item.state != "ok"}


async def test_nobody_follows_where_a_server_sends_and_no_credential_goes_there() -> None:
    async with (
        answering(lambda request: web.Response()) as (other, strangers),
        answering(sends_to(f"{other}/somewhere")) as (url, asked),
    ):
        bad = await states(url, "a-token")
    assert strangers == [] and len(asked) == len(probes("a-token"))
    assert "open" not in bad.values() and bad["websocket, no credential"] == "broken"


@pytest.mark.parametrize("place", ["/login?next=/queue", "https://sso.example.com/x", "/oauth2/start", "/Sign-In"])
@pytest.mark.parametrize("status", [301, 302, 308])
async def test_to_be_sent_to_a_login_is_a_refusal(place: str, status: int) -> None:
    async with answering(sends_to(place, status)) as (url, _):
        assert await states(url) == {}


async def test_a_server_that_sends_all_to_another_is_named_after_one_probe() -> None:
    async with answering(lambda it: sends_to(f"https://127.0.0.1:1{it.path_qs}", 301)(it)) as (url, asked):
        with pytest.raises(UnreachableError) as caught:
            await diagnose(url)
    assert len(asked) == 1 and caught.value.hint and "https://127.0.0.1:1" in caught.value.hint


async def test_another_refusal_than_401_hands_nothing_over_and_a_missing_file_does() -> None:
    async with answering(lambda request: web.Response(status=403)) as (url, _):
        found = await states(url)
        assert set(found.values()) == {"broken"} and "no credential" in found
    async with answering(lambda request: web.Response(status=404)) as (url, _):
        opened = {name for name, state in (await states(url)).items() if state == "open"}
    assert "no credential, picture" in opened and sum(name.startswith("suffix") for name in opened) == 5


async def test_a_page_in_the_place_of_a_websocket_is_no_way_in() -> None:
    async with answering(lambda request: web.Response(text="<html>sign in</html>")) as (url, _):
        found = await states(url, "a-token")
    assert {found[name] for name in found if name.startswith("websocket")} == {"broken"}


async def test_a_log_full_of_tracebacks_does_not_hide_the_credential_in_it() -> None:
    log = "Traceback (most recent call last)\ntoken=right-one"
    async with answering(lambda request: web.Response(text=log)) as (url, _):
        assert (await states(url, "right-one"))["credential in the log"] == "open"


async def test_nothing_is_asked_for_that_could_change_anything() -> None:
    async with answering(lambda request: web.Response(status=401)) as (url, asked):
        assert await states(url) == {}
    posts = {request.path for request in asked if request.method != "GET"}
    assert len(posts) == 2 and all("/userdata/comfyops-probe-" in path and "/move/" in path for path in posts)
    assert [await request.read() for request in asked if request.body_exists] == []


@pytest.mark.parametrize("token", ["a\nb", "a\r", "\0", "a\x7f"])
async def test_a_token_that_no_header_holds_is_refused_before_anything_is_sent(token: str) -> None:
    for tokens in ((token, None), ("good", token)):
        with pytest.raises(UsageError, match="control character"):
            await diagnose("http://127.0.0.1:9", tokens[0], stale=tokens[1])
