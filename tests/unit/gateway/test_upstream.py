"""The connections to a server, with servers that answer well and badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from comfyops.errors import UnreachableError
from comfyops.gateway.upstream import Upstream

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE = bytes(range(256)) * 4096 * 5


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[Upstream, list[int]]]:
    """Answers each request on each connection in turn; the list counts the requests of each connection."""
    counts: list[int] = []
    left = list(answers)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.append(0)
        place = len(counts) - 1
        try:
            while left:
                await reader.readuntil(b"\r\n\r\n")
                counts[place] += 1
                answer = left.pop(0)
                writer.write(answer.removesuffix(b"CLOSE"))
                await writer.drain()
                if answer.endswith(b"CLOSE"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(speak, "127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", timeout=5)
    try:
        yield upstream, counts
    finally:
        upstream.close()
        listening.close()


def ok(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) if length is None else length, body)


async def read(upstream: Upstream, method: str = "GET") -> bytes:
    answer = await upstream.send(method, b"/")
    return await answer.read(10 * len(LARGE))


async def test_a_large_body_is_whole_and_its_connection_is_used_again() -> None:
    async with server(ok(b"one"), ok(LARGE), ok(b"three"), ok(LARGE), ok(b"")) as (upstream, counts):
        assert [await read(upstream) for _ in range(5)] == [b"one", LARGE, b"three", LARGE, b""]
        assert counts == [5]


async def test_chunks_and_bodies_up_to_the_end_of_a_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    ends = b"HTTP/1.1 200 OK\r\n\r\nuntil the endCLOSE"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"later")
    async with server(chunked, interim, ends) as (upstream, _):
        assert [await read(upstream) for _ in range(3)] == [b"abcde", b"later", b"until the end"]


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"short", 10) + b"CLOSE",
        ok(LARGE, len(LARGE) + 1) + b"CLOSE",
        ok(LARGE + b"more", len(LARGE)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabCLOSE",
        b"not HTTP at all\r\n\r\n",
    ],
)
async def test_half_and_broken_answers_are_never_taken_for_whole(answer: bytes) -> None:
    async with server(answer) as (upstream, _):
        with pytest.raises(UnreachableError):
            assert await read(upstream, "POST") == LARGE
            raise UnreachableError("all that was said has come; what follows closes the connection")


async def test_a_connection_that_was_closed_meanwhile_is_replaced_for_what_may_be_repeated() -> None:
    async with server(ok(b"one") + b"CLOSE", ok(b"two")) as (upstream, counts):
        assert await read(upstream) == b"one"
        assert await read(upstream) == b"two"
        assert counts == [1, 1]


async def test_answers_are_bounded() -> None:
    async with server(ok(LARGE)) as (upstream, _):
        answer = await upstream.send("GET", b"/")
        with pytest.raises(UnreachableError):
            await answer.read(1000)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with server(b"") as (upstream, _):
        upstream.timeout = 0.2
        with pytest.raises(UnreachableError):
            await read(upstream)


async def test_an_answer_that_nobody_asked_for_is_given_to_nobody() -> None:
    async with server(ok(b"one") + ok(b"another's"), ok(b"two"), ok(b"three")) as (upstream, counts):
        assert await read(upstream) == b"one"
        assert await read(upstream) == b"two"
        (connection,) = upstream._all
        connection.data_received(ok(b"another's"))
        assert await read(upstream) == b"three"
        assert counts == [1, 1, 1]
