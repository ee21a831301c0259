"""The one doorway for programs without an event loop: a loop in a thread, to which async work is handed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

from comfyops.errors import UsageError

T = TypeVar("T")


class Blocking:
    """Runs async work to its end from ordinary code:

        with Blocking() as door:
            client = door.enter(Client("http://127.0.0.1:8189"))
            job = door.run(client.submit("picture.json"))
            for event in door.each(job.events()):
                print(event.status)

    What was entered is left, last first, when the block ends. May be used from several threads. Ctrl-C cancels the work
    that is waited for. Raises UsageError outside of its block, and what the work raises.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stack = AsyncExitStack()

    def __enter__(self) -> Blocking:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="comfyops-blocking", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._thread is not None
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives."""
        if self._loop is None:
            work.close()
            raise UsageError("This doorway is closed: use it inside its `with` block.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """What an async iterator gives, one by one; it is closed where one stops early."""

        async def one() -> tuple[bool, T | None]:
            try:
                return True, await anext(items)
            except StopAsyncIteration:
                return False, None

        try:
            while True:
                there, item = self.run(one())
                if not there:
                    return
                yield item  # type: ignore[misc]
        finally:
            close = getattr(items, "aclose", None)
            if close is not None and self._loop is not None:
                self.run(close())

    def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """What an async context manager gives; it is left with this one."""
        return self.run(self._stack.enter_async_context(manager))
