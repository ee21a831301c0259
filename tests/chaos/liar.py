"""A server that says of one file what a test wants it to say, byte for byte."""

from __future__ import annotations

import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the `number` of it counts from 1. `start` and `end` of its range, the whole file without one."""

    number: int
    method: str
    path: str
    ranged: bool
    start: int
    end: int


@dataclass
class Liar:
    """`answer` gives head and body for a request; the connection is kept unless `closes`. `asked` are the requests.

    Bodies of requests that `crawls` picks come three bytes a second.
    """

    data: bytes = field(repr=False)
    answer: Callable[[Liar, Asked], tuple[str, bytes]]
    closes: bool = False
    crawls: Callable[[Asked], bool] = lambda asked: False
    asked: list[Asked] = field(default_factory=list)

    def honest(self, asked: Asked, *headers: str, etag: str = 'ETag: "v1"') -> tuple[str, bytes]:
        """What a good server says, with these headers besides."""
        body = self.data[asked.start : asked.end]
        lines = [f"Content-Length: {len(body)}", *filter(None, (etag, *headers))]
        if not asked.ranged:
            return head(200, *lines), body
        return head(206, f"Content-Range: bytes {asked.start}-{asked.end - 1}/{len(self.data)}", *lines), body

    def reply(self, text: str) -> Iterator[bytes]:
        """The answer to a request's head, in pieces."""
        method, path, _ = text.split(" ", 2)
        found = re.search(r"\r\nRange: bytes=(\d+)-(\d+)", text)
        start, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(self.data))
        asked = Asked(len(self.asked) + 1, method, path, bool(found), start, min(end, len(self.data)))
        self.asked.append(asked)
        said, body = self.answer(self, asked)
        yield said.encode("latin-1")
        if method != "HEAD" and self.crawls(asked):
            for byte in body:
                yield bytes([byte])
                time.sleep(0.3)
        elif method != "HEAD":
            yield body


def head(status: int, *headers: str) -> str:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status} Said", *headers, "", ""])


@contextmanager
def telling(liar: Liar) -> Iterator[str]:
    """The file's address."""
    lock = threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                while request := self.request_head():
                    reply = liar.reply(request)
                    with lock:
                        self.wfile.write(next(reply))
                    for piece in reply:
                        self.wfile.write(piece)
                    if liar.closes:
                        return
            except OSError:
                return

        def request_head(self) -> str:
            lines = [self.rfile.readline()]
            while lines[-1].strip():
                lines.append(self.rfile.readline())
            return b"".join(lines).decode("latin-1")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/model.bin"
        server.shutdown()
        thread.join(5)
