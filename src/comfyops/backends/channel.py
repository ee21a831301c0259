"""What a websocket told of one run, kept until its reader takes it.

New previews and steps of progress take the place of older ones, so a channel stays small however slow its reader is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

from comfyops.backends.events import Event, Preview, Progress

MAX_EVENTS = 4096
"""Events that one channel keeps for its reader; beyond that the oldest go, previews and progress first."""

MAX_PREVIEW_BYTES = 256 * 1024 * 1024
"""Bytes of previews that one channel keeps; beyond that the oldest go."""


class Look:
    """A hint in a channel: the truth may have changed, look at the server. `sure` = the run is said to be over."""

    __slots__ = ("ending", "sure")

    def __init__(self, *, ending: bool = False, sure: bool = False) -> None:
        self.ending = ending
        self.sure = sure


class Channel:
    """What came for one run and was not taken yet, in order."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.heard = False
        self._items: OrderedDict[object, Event | Look] = OrderedDict()
        self._arrived = asyncio.Event()
        self._count = 0
        self._preview_bytes = 0

    def put(self, item: Event | Look) -> None:
        """Add an event or hint; never waits."""
        key = self._key(item)
        self._remove(key)
        self._items[key] = item
        self._preview_bytes += _size(item)
        self._arrived.set()
        while len(self._items) > MAX_EVENTS or self._preview_bytes > MAX_PREVIEW_BYTES:
            self._remove(self._least())

    async def take(self, timeout: float) -> Event | Look | None:
        """The next item, None after `timeout` seconds without one."""
        if not self._items:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
        return self.take_now()

    def take_now(self) -> Event | Look | None:
        """The next item that is there already."""
        item = self._remove(next(iter(self._items))) if self._items else None
        if not self._items:
            self._arrived.clear()
        return item

    def __len__(self) -> int:
        return len(self._items)

    def _key(self, item: Event | Look) -> object:
        """What a newer item replaces: hints of a kind, a node's progress, a node's JPEG preview."""
        if isinstance(item, Look):
            return "look", item.ending, item.sure
        if isinstance(item, Progress):
            return "progress", item.node
        if isinstance(item, Preview) and item.mime_type != "image/png":
            return "preview", item.node
        self._count += 1
        return self._count

    def _remove(self, key: object) -> Event | Look | None:
        item = self._items.pop(key, None)
        self._preview_bytes -= _size(item)
        return item

    def _least(self) -> object:
        """The key of what is least worth keeping."""
        for kind in (Preview, Progress):
            for key, item in self._items.items():
                if isinstance(item, kind):
                    return key
        return next(iter(self._items))


def _size(item: Event | Look | None) -> int:
    return len(item.data) if isinstance(item, Preview) else 0
