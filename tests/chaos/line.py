"""A network of one line: a TCP relay on loopback that can be cut, go silent, or be slow."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from urllib.parse import urlsplit

_PIECE = 16 * 1024


class Line:
    """Passes on to a server; `url` is its own address. Use as `async with Line(url) as line`.

    cut     open connections are reset, new ones too
    silent  nothing is passed on, and nobody is told
    slow    each piece of at most 16 KiB takes `delay` seconds
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._is_cut = False
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections, and every new one."""
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def silence(self) -> None:
        """Pass nothing on any more."""
        self._flowing.clear()

    def slow(self, delay: float) -> None:
        """Have each piece take so many seconds."""
        self._delay = delay

    def mend(self) -> None:
        """All is well again; what was held back comes now."""
        self._is_cut, self._delay = False, 0.0
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._flowing.wait()
            there, away = await asyncio.open_connection(*self._target)
            both = {writer, away}
            self._writers |= both
            try:
                await asyncio.gather(self._pump(reader, away), self._pump(there, writer))
            finally:
                self._writers -= both
                for end in both:
                    end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(_PIECE):
            await self._flowing.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            target.write(piece)
            await target.drain()
        target.write_eof()
