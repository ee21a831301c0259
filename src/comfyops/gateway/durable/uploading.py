"""POST /upload/image and /upload/mask into the files of the queue."""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path

from PIL import Image

from comfyops.errors import StorageError
from comfyops.gateway.durable.viewing import Viewing
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.prompts import read_json
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.uploads import Form, read_form, subfolder_of
from comfyops.jobs.queue import Queue
from comfyops.jobs.thumbnails import MOST_PIXELS
from comfyops.jobs.uploads import Place


class DurableUploads:
    """Takes files that graphs name."""

    def __init__(self, queue: Queue, viewing: Viewing) -> None:
        self._queue = queue
        self._viewing = viewing

    async def upload(self, exchange: Exchange, owner: str) -> None:
        """Keep a file, and answer where it lies. Raises RefusedError, StorageError."""
        path = self._queue.files.incoming()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                form = await read_form(exchange, file)
            if exchange.path == "/upload/mask":
                await self._mask(path, form, exchange, owner)
            place = await self._keep(path, form, owner)
        except OSError as error:
            raise StorageError("The upload could not be written.") from error
        finally:
            path.unlink(missing_ok=True)
        answer = {"name": place.name, "subfolder": place.subfolder, "type": place.folder_type}
        await exchange.json(200, answer)

    async def _keep(self, path: Path, form: Form, owner: str) -> Place:
        kind = form.fields.get("type") or "input"
        if kind not in ("input", "temp"):
            raise RefusedError(403, "upload_place", "Uploads go to the input folder.")
        place = Place(kind, subfolder_of(form), form.filename)
        kept = await self._queue.files.keep(path)
        mime = mimetypes.guess_type(form.filename)[0] or form.content_type[:200]
        overwrite = form.fields.get("overwrite") in ("true", "1")
        return await self._queue.uploads.put(owner, place, kept, mime, overwrite=overwrite)

    async def _mask(self, path: Path, form: Form, exchange: Exchange, owner: str) -> None:
        """Put the transparency of the upload onto the original that it names."""
        ref = read_json(form.fields.get("original_ref", "").encode(), exchange.limits)
        values = [ref.get(key, "") for key in ("type", "subfolder", "filename")] if isinstance(ref, dict) else []
        if not values or not all(isinstance(value, str) for value in values):
            raise RefusedError(400, "invalid_original", "The original_ref names no file.")
        kind, subfolder, name = values
        place = Place(kind or "output", subfolder.replace("\\", "/").strip("/"), name)
        original = await self._viewing.find(place, owner)
        if original is None:
            raise RefusedError(404, "not_found", "There is no such original here.")
        try:
            await asyncio.to_thread(_put_alpha, original.path, path)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise RefusedError(400, "no_picture", "The mask or its original is no picture.") from error


def _put_alpha(original: Path, mask: Path) -> None:
    """Write the original with the mask's transparency in the mask's place. Raises OSError, ValueError."""
    with Image.open(original) as picture, Image.open(mask) as transparency:
        if max(picture.width * picture.height, transparency.width * transparency.height) > MOST_PIXELS:
            raise ValueError("too large")
        whole = picture.convert("RGBA")
        alpha = transparency.convert("RGBA").getchannel("A")
        whole.putalpha(alpha if alpha.size == whole.size else alpha.resize(whole.size))
    whole.save(mask, "PNG")
