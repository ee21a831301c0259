"""Requests as bytes, for tests of what no client library would send, and a server that tells what reached it."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MARK = b"fuzz"
SMUGGLED = b"GET /system_stats?smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_ANSWERS = {b"/queue": b'{"queue_running": [], "queue_pending": []}'}


@dataclass
class Heard:
    """What a server heard: the head of each request, and bodies, in order."""

    heads: list[bytes] = field(default_factory=list)
    odd: list[bytes] = field(default_factory=list)

    def targets(self) -> list[bytes]:
        """The targets of the requests of tests; the gateway's own questions are left out."""
        found = [head.split(b" ")[1] for head in self.heads]
        return [target for target in found if MARK in target or b"smuggled" in target]


@asynccontextmanager
async def listening_server() -> AsyncIterator[tuple[str, Heard]]:
    """A server that answers 200 to everything and believes every byte that it gets."""
    heard = Heard()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heard.heads.append(head)
                await _body(reader, head.lower(), heard)
                body = _ANSWERS.get(head.split(b" ")[1].partition(b"?")[0], b"{}")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()


async def _body(reader: asyncio.StreamReader, head: bytes, heard: Heard) -> None:
    lengths = re.findall(rb"\r\ncontent-length: (\d+)", head)
    chunked = b"\r\ntransfer-encoding: chunked" in head
    if len(lengths) + chunked > 1:
        heard.odd.append(head)
    if chunked:
        while size := int((await reader.readline()).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif lengths:
        await reader.readexactly(int(lengths[0]))


async def spoken(url: str, data: bytes) -> tuple[list[int], bytes]:
    """Send bytes; gives the statuses of the answers and all that came back, once the other side has no more to say.

    Raises TimeoutError where it never ends, though nothing more is sent.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    back = bytearray()
    try:
        async with asyncio.timeout(20):
            try:
                writer.write(data)
                while not _quiet(back) or not await _idle(reader, back):
                    if not await _more(reader, back, 2.0):
                        break
                if writer.can_write_eof():
                    writer.write_eof()
                while part := await reader.read(65536):
                    back += part
            except ConnectionError:
                pass
    finally:
        writer.close()
    return [int(code) for code in _STATUS.findall(bytes(back))], bytes(back)


def _quiet(back: bytes | bytearray) -> bool:
    return _STATUS.search(back) is not None


async def _idle(reader: asyncio.StreamReader, back: bytearray) -> bool:
    """Whether nothing more comes for a moment."""
    return not await _more(reader, back, 0.2)


async def _more(reader: asyncio.StreamReader, back: bytearray, patience: float) -> bool:
    try:
        part = await asyncio.wait_for(reader.read(65536), patience)
    except TimeoutError:
        return False
    back += part
    return bool(part)


def framing_tricks(token: str) -> dict[str, bytes]:
    """Requests whose end one reader sees elsewhere than another, with the credential given ("" = none)."""
    who = f"Authorization: Bearer {token}\r\n".encode() if token else b""
    start = b"POST /userdata/fuzz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + who
    end, plain = b"0\r\n\r\n", b"Host: 127.0.0.1\r\n"
    coded = b"Transfer-Encoding: chunked\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(SMUGGLED), SMUGGLED)
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    return {
        "length and chunks": start + both + b"\r\n0\r\n\r\n" + SMUGGLED,
        "chunks and length": start + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "two lengths": start + b"Content-Length: 0\r\nContent-Length: 56\r\n\r\n" + SMUGGLED,
        "a list of lengths": start + b"Content-Length: 0, 56\r\n\r\n" + SMUGGLED,
        "a length with a sign": start + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
        "a negative length": start + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
        "a length beyond numbers": start + b"Content-Length: 99999999999999999999\r\n\r\n" + SMUGGLED,
        "a space before the colon": start + b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
        "a folded header": start + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "an unknown coding": start + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "two codings": start + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "a coding with a tab": start + b"Transfer-Encoding:\tchunked\x0b\r\nContent-Length: 4\r\n\r\n" + end + SMUGGLED,
        "bad chunk sizes": start + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n" + SMUGGLED,
        "a chunk beyond numbers": start + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + SMUGGLED,
        "a chunk shorter than said": start + b"Transfer-Encoding: chunked\r\n\r\n9\r\nab\r\n0\r\n\r\n" + SMUGGLED,
        "a length after the body": start + coded + b"\r\n" + chunks + b"Content-Length: 0\r\n\r\n",
        "a credential after the body": start.removesuffix(who) + coded + b"\r\n0\r\n" + who + b"\r\n",
        "a bare line feed": start + b"Content-Length: 0\n\n" + SMUGGLED,
        "a bare carriage return": start + b"X: a\rContent-Length: 56\r\n\r\n" + SMUGGLED,
        "a null": start + b"X: a\x00b\r\n\r\n" + SMUGGLED,
        "a header without a colon": start + b"nothing\r\n\r\n" + SMUGGLED,
        "an upgrade with a body": start
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        + b"Sec-WebSocket-Version: 13\r\nContent-Length: 56\r\n\r\n" + SMUGGLED,
        "an upgrade to something else": start + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + SMUGGLED,
        "a body of GET": b"GET /queue?fuzz HTTP/1.1\r\n" + plain + who + b"Content-Length: 56\r\n\r\n" + SMUGGLED,
        "two requests in one": b"GET /queue?fuzz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + who + b"\r\n" + SMUGGLED,
    }  # fmt: skip


def any_request(chance: random.Random, token: str) -> bytes:
    """A request of odd parts."""
    pick = chance.choice
    methods = (
        b"GET",
        b"POST",
        b"HEAD",
        b"DELETE",
        b"OPTIONS",
        b"CONNECT",
        b"TRACE",
        b"get",
        b"G\xc3\x89T",
        b"",
        b"PRI",
    )
    targets = (
        *(b"/queue?fuzz", b"/api/queue?fuzz", b"//queue?fuzz", b"/./queue?fuzz", b"/%71ueue?fuzz", b"/queue?fuzz#x"),
        *(b"http://evil.example/queue?fuzz", b"http://127.0.0.1/queue?fuzz", b"*", b"127.0.0.1:80", b"", b"/\xff?fuzz"),
        *(b"/fuzz%00", b"/fuzz\x7f", b"/..%2f..%2ffuzz", b"/" + b"fuzz" * pick((1, 3000, 40000)), b"/userdata/fuzz"),
    )
    lines = [
        b" ".join((pick(methods), pick(targets), pick((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 x", b""))))
    ]
    lines += [b"Host: " + pick((b"127.0.0.1", b"localhost", b"evil.example", b"a b", b"", b"\xff"))] * pick(
        (0, 1, 1, 1, 2)
    )
    if token and chance.random() < 0.7:
        lines.append(f"Authorization: Bearer {token}".encode())
    lines += [_any_header(chance) for _ in range(pick((0, 0, 1, 1, 2, 5, 300)))]
    body = pick((b"", b"{}", b"0\r\n\r\n", SMUGGLED, chance.randbytes(50)))
    return pick((b"\r\n", b"\r\n", b"\r\n", b"\n")).join([*lines, b"", b""]) + body


def _any_header(chance: random.Random) -> bytes:
    pick = chance.choice
    names = (
        *(
            b"Content-Length",
            b"Transfer-Encoding",
            b"Connection",
            b"Upgrade",
            b"Expect",
            b"Cookie",
            b"Origin",
            b"Range",
        ),
        *(b"Authorization", b"X-Forwarded-For", b"Content-Encoding", b"Content-Type", b"Sec-Fetch-Site", b"X" * 300),
        *(b"", b" X", b"X Y", b"X\x00", b"\xff\xfe", chance.randbytes(4)),
    )
    values = (
        *(
            b"0",
            b"2",
            b"56",
            b"-1",
            b"1e3",
            b"chunked",
            b"gzip, chunked",
            b"close",
            b"keep-alive, Upgrade",
            b"websocket",
        ),
        *(b"100-continue", b"Bearer x", b"Basic !!!!", b"comfyops_session=x", b"null", b"http://evil.example", b""),
        *(b"a\r\n b", b"\x00", b"\xff" * 9, b"v" * pick((10, 5000, 70000)), chance.randbytes(6)),
    )
    return pick(names) + pick((b": ", b":", b" : ", b"")) + pick(values)
