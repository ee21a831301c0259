"""Fetching what a run makes, keeping it by its content, and making thumbnails of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Output
from comfyops.errors import ComfyOpsError
from comfyops.jobs.files import Files
from comfyops.jobs.incoming import Incoming
from comfyops.jobs.kept import Kept
from comfyops.jobs.sniffing import HEAD, sniff
from comfyops.jobs.thumbnails import Thumbnails
from comfyops.support.files import read_bytes

_AT_ONCE = 4  # files of one job that are fetched


@dataclass(frozen=True, slots=True)
class Made:
    """One output that is kept; `kept` None = a text."""

    output: Output
    kept: Kept | None
    mime: str


@dataclass(frozen=True, slots=True)
class _Fetched:
    """An output, and the server's mark of the version that was fetched."""

    made: Made
    mark: str


class Collection:
    """The outputs of one run, with thumbnails: fetched as soon as the run tells of them. At its end those count that
    are still what was fetched, since a later node may have changed or removed a file; the others are fetched then.
    `lasting` says that no node of the run does so.
    """

    def __init__(self, files: Files, thumbnails: Thumbnails, *, lasting: bool = False) -> None:
        self._files = files
        self._thumbnails = thumbnails
        self._lasting = lasting
        self._marked = True
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._early: dict[Output, asyncio.Task[_Fetched | None]] = {}
        self._counted: set[Output] = set()  # of these

    def begin(self, client: ComfyUI, outputs: Iterable[Output]) -> None:
        """Fetch outputs while the run goes on, from a server by which it can be told at the end whether they count."""
        for output in outputs:
            if output.filename and output not in self._early and self._marked:
                self._early[output] = asyncio.create_task(self._try(client, output))

    async def finish(self, client: ComfyUI, outputs: Iterable[Output]) -> list[Made]:
        """Everything that the run made, in order. Raises BackendErrors, StorageError; what was kept stays kept."""
        tasks = [asyncio.create_task(self._one(client, output)) for output in outputs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    async def close(self) -> list[Made]:
        """Fetch no more; gives what was fetched early and does not count."""
        await _end(self._early.values())
        done = [task for task in self._early.values() if not task.cancelled() and task.exception() is None]
        found = [task.result() for task in done]
        return [item.made for item in found if item is not None and item.made.output not in self._counted]

    async def _try(self, client: ComfyUI, output: Output) -> _Fetched | None:
        try:
            async with self._room:
                fetched = await self._fetch(client, output)
        except ComfyOpsError:
            return None  # it is fetched again at the end, and what is wrong is told then
        self._marked = self._lasting or bool(fetched.mark)
        return fetched

    async def _one(self, client: ComfyUI, output: Output) -> Made:
        if not output.filename:
            return Made(output, None, "text/plain")
        early = await asyncio.shield(self._early[output]) if output in self._early else None
        async with self._room:
            if early is not None and (self._lasting or await client.is_still(output, early.mark)):
                self._counted.add(output)
                return early.made
            return (await self._fetch(client, output)).made

    async def _fetch(self, client: ComfyUI, output: Output) -> _Fetched:
        incoming = Incoming(self._files.incoming())
        try:
            async with client.download(output) as download:
                await incoming.take(download.pieces)
            return _Fetched(await asyncio.to_thread(self._keep, incoming, output), download.mark)
        except BaseException:
            incoming.drop()
            raise

    def _keep(self, incoming: Incoming, output: Output) -> Made:
        """In a thread, all in one go: for small files to change threads takes longer than what is done there."""
        kept = self._files.receive(incoming)
        mime = mime_of(self._files.path(kept.hash), output.filename)
        self._thumbnails.make_here(kept.hash, mime)
        return Made(output, kept, mime)


async def _end(tasks: Iterable[asyncio.Task[object]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def mime_of(path: Path, name: str) -> str:
    """The MIME type of a kept file that was made under a name. Raises MissingFileError."""
    return sniff(read_bytes(path, HEAD), name).mime
