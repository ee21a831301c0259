"""Fetching what a run made, and keeping it by its content."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Output
from comfyops.jobs.files import Files, Kept

mimetypes.add_type("image/webp", ".webp")
mimetypes.add_type("model/gltf-binary", ".glb")
mimetypes.add_type("audio/flac", ".flac")


@dataclass(frozen=True, slots=True)
class Made:
    """One output that is kept; `kept` None = a text."""

    output: Output
    kept: Kept | None
    mime: str


class Collector:
    """Fetches outputs into kept files."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def collect(self, client: ComfyUI, outputs: tuple[Output, ...]) -> list[Made]:
        """Fetch and keep outputs, in order. Raises BackendErrors, StorageError; what was kept stays kept."""
        return [await self._one(client, output) for output in outputs]

    async def _one(self, client: ComfyUI, output: Output) -> Made:
        if not output.filename:
            return Made(output, None, "text/plain")
        path = self._files.incoming()
        try:
            await client.fetch_to(output, path)
            kept = await self._files.keep(path)
        finally:
            path.unlink(missing_ok=True)
        return Made(output, kept, mime_of(output.filename))


def mime_of(name: str) -> str:
    """The MIME type that a file name tells."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
