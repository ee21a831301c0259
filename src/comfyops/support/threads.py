"""Threads whose end can be waited for by one that gets signals, and work that need not hold up an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SMALL = 100  # nodes: work on fewer takes less time than handing it to a thread


class Thread(threading.Thread):
    """A daemon thread. Its `join` may be interrupted by Ctrl-C, and be called again.

    Python 3.11 and 3.12 take a thread for ended whose `join` was interrupted, though it runs on: whoever joins it then,
    to let it clean up, is not made to wait.
    """

    def __init__(self, target: Callable[..., object], *args: Any, name: str | None = None) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)
        self._over = threading.Event()

    def run(self) -> None:
        """What the thread does."""
        try:
            super().run()
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds."""
        if self.ident is not None and not self._over.wait(timeout):
            return
        super().join(timeout)


async def on_graph(nodes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work on a graph of so many nodes, done in a thread where it would hold up the event loop."""
    if nodes <= _SMALL:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
