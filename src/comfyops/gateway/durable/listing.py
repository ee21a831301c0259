"""GET /queue as bytes. Pages ask for it after every change, many at once: it is made anew only where something was
written since, and no job is read twice, for what is shown of one that waits or runs never changes.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from comfyops.gateway.durable import entries
from comfyops.jobs.queue import Queue
from comfyops.workflows.node_types import NodeTypes

_REMEMBERED = 32 * 1024 * 1024  # bytes of jobs
_OWNERS = 64  # whose lists are kept
_LARGEST = 1024 * 1024  # bytes of a list that is kept


class _Entries:
    """What is shown of jobs by their ids, as long as the same node types are known; the newest of them."""

    def __init__(self, types: NodeTypes | None) -> None:
        self.types = types
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, job: str) -> bytes | None:
        return self._kept.get(job)

    def put(self, job: str, entry: bytes) -> None:
        self._size += len(entry) - len(self._kept.pop(job, b""))  # two lists in the making may read the same job
        self._kept[job] = entry
        while self._size > _REMEMBERED:
            self._size -= len(self._kept.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class _Made:
    """A list, finished or in the making, and what it depends on: what was committed, and the types that are known."""

    version: int | None
    types: NodeTypes | None
    text: asyncio.Task[bytes]


class QueueList:
    """The lists of all owners, for one event loop."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._entries = _Entries(None)
        self._lists: OrderedDict[str | None, _Made] = OrderedDict()

    async def read(self, owner: str | None) -> bytes:
        """The list of an owner, of None that of all, as it is now. Raises DatabaseError."""
        version, types = self._queue.store.version(), self._queue.node_types()
        made = self._lists.get(owner)
        if made is None or version is None or made.version != version or made.types is not types:
            made = _Made(version, types, asyncio.get_running_loop().create_task(self._make(owner, types)))
            self._keep(owner, made)
        return await asyncio.shield(made.text)  # who goes away does not take it from the others

    def _keep(self, owner: str | None, made: _Made) -> None:
        def drop(task: asyncio.Task[bytes]) -> None:
            useless = task.cancelled() or task.exception() is not None or len(task.result()) > _LARGEST
            if useless and self._lists.get(owner) is made:
                del self._lists[owner]

        self._lists[owner] = made
        made.text.add_done_callback(drop)
        if len(self._lists) > _OWNERS:
            self._lists.popitem(last=False)

    async def _make(self, owner: str | None, types: NodeTypes | None) -> bytes:
        if self._entries.types is not types:
            self._entries = _Entries(types)
        known = self._entries
        found = await self._queue.in_queue(owner)
        return b'{"queue_running": [%b], "queue_pending": [%b]}' % (
            await self._shown(found.running, known),
            await self._shown(found.waiting, known),
        )

    async def _shown(self, jobs: Iterable[str], known: _Entries) -> bytes:
        shown = {job: known.get(job) for job in jobs}
        unknown = [job for job, entry in shown.items() if entry is None]
        for job in await self._queue.get_many(unknown) if unknown else ():
            entry = json.dumps(entries.queue_item(job, known.types)).encode()
            shown[job.id] = entry
            known.put(job.id, entry)
        return b", ".join(entry for entry in shown.values() if entry is not None)
