"""The queue of a simulated server: what waits, in the order of a heap, and what runs."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Item:
    """One accepted prompt. `number` orders the queue, smallest first; `serial` breaks ties.

    `twins_clash`: two items of the same number and id cannot be compared, which breaks the real server.
    """

    number: float
    id: str
    prompt: Mapping[str, Any]
    extra_data: dict[str, Any]
    outputs: tuple[str, ...]
    serial: int
    twins_clash: bool = False

    def __lt__(self, other: Item) -> bool:
        if self.number != other.number:
            return self.number < other.number
        if self.id == other.id and self.twins_clash:
            raise TypeError("'<' not supported between instances of 'dict' and 'dict'")
        return (self.id, self.serial) < (other.id, other.serial)

    @property
    def client_id(self) -> Any:
        """The client that gets the messages of the run; None = they are broadcast."""
        return self.extra_data.get("client_id")

    def entry(self) -> list[Any]:
        """The five parts that GET /queue and GET /history show."""
        return [self.number, self.id, self.prompt, self.extra_data, list(self.outputs)]


class Queue:
    """Pending items in heap order, at most one running. `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.pending: list[Item] = []
        self.running: Item | None = None
        self._changed = changed
        self._filled = asyncio.Event()

    @property
    def remaining(self) -> int:
        """How many are pending or running."""
        return len(self.pending) + (self.running is not None)

    def put(self, item: Item) -> None:
        """Add an item. Raises TypeError, with the item in the queue, for a twin that clashes."""
        self._filled.set()
        heapq.heappush(self.pending, item)
        self._changed()

    async def take(self) -> Item:
        """Wait for the next item and make it the running one. Raises TypeError for clashing twins."""
        while not self.pending:
            self._filled.clear()
            await self._filled.wait()
        item = heapq.heappop(self.pending)
        self.running = item
        self._changed()
        return item

    def wake(self) -> None:
        """Let a waiting `take` look again."""
        self._filled.set()

    def done(self) -> None:
        """The running item is finished."""
        self.running = None
        self._changed()

    def clear(self) -> None:
        """Drop everything that waits."""
        self.pending = []
        self._changed()

    def delete(self, prompt_id: object) -> bool:
        """Drop one waiting item of this id. Raises TypeError for clashing twins."""
        for place, item in enumerate(self.pending):
            if item.id == prompt_id:
                if len(self.pending) == 1:
                    self.clear()
                else:
                    self.pending.pop(place)
                    heapq.heapify(self.pending)
                self._changed()
                return True
        return False

    def forget(self) -> None:
        """Lose everything without a message, as a restart does."""
        self.pending, self.running = [], None
