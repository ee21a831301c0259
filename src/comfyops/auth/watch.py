"""Looks at the store's revision now and then, so that what is remembered is at most half a second old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from comfyops.auth.records import Change
from comfyops.auth.store import Store

LOOK_EVERY = 0.5
"""Seconds between two looks at the store; what is revoked stops at most this much later, in every process."""


class Watch:
    """The store's revision, as known here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self.revision = -1

    @property
    def fresh(self) -> bool:
        """Whether nothing needs to be looked at now."""
        return time.monotonic() - self._looked_at < LOOK_EVERY

    async def look(self) -> None:
        """Look at the store, unless somebody just did. Raises StorageError: what cannot be checked is not let in."""
        async with self._looking:
            if self.fresh:
                return
            started = time.monotonic()  # a change during the look may be missed, one before it may not
            self.revision = await asyncio.to_thread(self._store.revision)
            self._looked_at = started

    async def changes(self) -> AsyncIterator[tuple[Change, ...]]:
        """What changes from now on, every LOOK_EVERY seconds; empty where nothing did."""
        seen = await asyncio.to_thread(self._store.revision)
        while True:
            found = await asyncio.to_thread(self._store.changes_since, seen)
            seen = found[-1].revision if found else seen
            yield found
            await asyncio.sleep(LOOK_EVERY)
