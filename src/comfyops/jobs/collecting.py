"""Fetching what a run made, keeping it by its content, and making thumbnails of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Output
from comfyops.jobs.files import Files, Kept
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


class Collector:
    """Fetches outputs into kept files, with thumbnails."""

    def __init__(self, files: Files, thumbnails: Thumbnails) -> None:
        self._files = files
        self._thumbnails = thumbnails

    async def collect(self, client: ComfyUI, outputs: tuple[Output, ...]) -> list[Made]:
        """Fetch and keep outputs; gives them in order. Raises BackendErrors, StorageError; what was kept stays kept."""
        room = asyncio.Semaphore(_AT_ONCE)
        tasks = [asyncio.create_task(self._in_turn(room, client, output)) for output in outputs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_turn(self, room: asyncio.Semaphore, client: ComfyUI, output: Output) -> Made:
        async with room:
            return await self._one(client, output)

    async def _one(self, client: ComfyUI, output: Output) -> Made:
        if not output.filename:
            return Made(output, None, "text/plain")
        path = self._files.incoming()
        try:
            await client.fetch_to(output, path)
            kept, mime = await asyncio.to_thread(self._keep, path, output.filename)
        finally:
            path.unlink(missing_ok=True)
        await self._thumbnails.make(kept.hash, mime)
        return Made(output, kept, mime)

    def _keep(self, path: Path, name: str) -> tuple[Kept, str]:
        kept = self._files.take(path)
        return kept, mime_of(self._files.path(kept.hash), name)


def mime_of(path: Path, name: str) -> str:
    """The MIME type of a kept file that was made under a name. Raises MissingFileError."""
    return sniff(read_bytes(path, HEAD), name).mime
