"""GET /view: files of an owner, from where the queue keeps them."""

from __future__ import annotations

import asyncio
import io
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote

from PIL import Image

from comfyops.errors import MissingFileError, UnknownJobError
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.refusal import RefusedError, not_found
from comfyops.jobs import output_names
from comfyops.jobs.job import Filter, JobState
from comfyops.jobs.queue import Queue
from comfyops.jobs.taking_inputs import SUBFOLDER
from comfyops.jobs.thumbnails import MOST_PIXELS
from comfyops.jobs.uploads import Place

_JOBS = 200  # newest jobs whose outputs are listed
_SAFE = ("image/", "video/", "audio/")
_UNSAFE = ("image/svg+xml",)
_PLAIN = ("application/json", "text/plain")
_BYTES = "application/octet-stream"
_DIGITS = 18  # of a place in a file; Python reads no number of thousands of them


@dataclass(frozen=True, slots=True)
class Found:
    """A kept file, its BLAKE3, MIME type and name."""

    path: Path
    hash: str
    mime: str
    name: str


class Viewing:
    """Files by the names that clients know them by."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def view(self, exchange: Exchange, owner: str, *, everybody: bool) -> bool:
        """Answer with a file of this owner (or of anybody's jobs); False where the queue keeps no such file and a
        server may have it: an input that nobody uploaded here. Raises RefusedError."""
        query = parse_qs(exchange.query.decode("latin-1"), keep_blank_values=True)
        if any(len(query.get(name, ())) > 1 for name in ("filename", "type", "subfolder")):
            raise RefusedError(400, "ambiguous", "The query names a thing twice.")
        kind, subfolder, name = (query.get(key, [""])[0] for key in ("type", "subfolder", "filename"))
        place = Place(kind or "output", subfolder.replace("\\", "/").strip("/"), name)
        found = await self.find(place, owner, everybody=everybody)
        if found is None:
            if place.folder_type == "input" and _may_be_the_servers(place.subfolder):
                return False
            raise not_found()
        wanted = query.get("preview", [""])[0], query.get("channel", ["rgba"])[0]
        if wanted != ("", "rgba") and found.mime.startswith("image/"):
            await _picture(exchange, found, *wanted)
        else:
            await _whole(exchange, found)
        return True

    async def names(self, exchange: Exchange, owner: str) -> None:
        """GET /internal/files/KIND: what an owner may name in a graph as a file of a kind of folder."""
        kind = exchange.path.rpartition("/")[2]
        if kind not in ("input", "output", "temp"):
            raise RefusedError(400, "invalid_folder", "There are the folders input, output and temp.")
        places = list(await self._queue.uploads.ls(owner, kind))
        if kind != "input":
            places += await self._made(owner, kind)
        await exchange.json(200, [_annotated(place) for place in places])

    async def _made(self, owner: str, kind: str) -> list[Place]:
        """The files that an owner's newest jobs made."""
        page = await self._queue.ls(Filter(owner=owner, states=(JobState.DONE,), limit=_JOBS))
        outputs = await self._queue.outputs_of([job.id for job in page.jobs])
        files = [item for made in outputs.values() for item in made if item.hash and item.folder_type == kind]
        return [Place(kind, output_names.shown(item.job, item.subfolder), item.filename) for item in files]

    async def find(self, place: Place, owner: str, *, everybody: bool = False) -> Found | None:
        """The file of a place, None where there is none that this owner may see."""
        made = output_names.parse(place.subfolder)
        try:
            if made is not None:
                return await self._output(made[0], made[1], place, None if everybody else owner)
            uploaded = await self._queue.uploads.get(owner, place)
            if uploaded is None:
                return None
            return Found(self._queue.files.path(uploaded.hash), uploaded.hash, uploaded.mime, place.name)
        except MissingFileError:
            return None

    async def _output(self, job: str, subfolder: str, place: Place, owner: str | None) -> Found | None:
        try:
            outputs = await self._queue.outputs(job, owner)
        except UnknownJobError:
            return None
        wanted = (subfolder, place.name, place.folder_type)
        for output in outputs:
            if output.hash and (output.subfolder, output.filename, output.folder_type) == wanted:
                return Found(self._queue.files.path(output.hash), output.hash, output.mime, output.filename)
        return None


def _annotated(place: Place) -> str:
    """A file's name as graphs name it: "people/a.png [input]"."""
    path = f"{place.subfolder}/{place.name}" if place.subfolder else place.name
    return f"{path} [{place.folder_type}]"


def _may_be_the_servers(subfolder: str) -> bool:
    """Whether a subfolder is plainly one in which a server has files of its own: not where jobs' files are put."""
    parts = [part.strip(" .").lower() for part in subfolder.split("/")] if subfolder else []
    return all(parts) and SUBFOLDER not in parts[:1]


async def _whole(exchange: Exchange, found: Found) -> None:
    size = found.path.stat().st_size
    tag = f'"{found.hash}"'.encode()
    headers = [(b"content-type", _mime(found).encode()), (b"etag", tag), (b"accept-ranges", b"bytes")]
    headers += [(b"cache-control", b"private, no-cache"), (b"content-disposition", _disposition(found).encode())]
    if tag in _tags(exchange.first(b"if-none-match")):
        await exchange.answer(304, b"", headers)
        return
    fits = exchange.first(b"if-range") in (b"", tag)  # else it continues another file: the whole one is wanted
    wanted = _range(exchange.first(b"range").decode("latin-1"), size) if fits else None
    if wanted is None:
        await exchange.send_file(200, headers, found.path, 0, size)
        return
    first, last = wanted
    if first > last:
        unsatisfied = [(b"content-range", f"bytes */{size}".encode())]
        await exchange.answer(416, b"", unsatisfied)
        return
    headers.append((b"content-range", f"bytes {first}-{last}/{size}".encode()))
    await exchange.send_file(206, headers, found.path, first, last + 1)


def _tags(header: bytes) -> list[bytes]:
    return [tag.strip().removeprefix(b"W/") for tag in header.split(b",")]


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None = the whole, first after last = it cannot be had."""
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec or not (first or last):
        return None
    if not all(part == "" or (part.isascii() and part.isdigit()) for part in (first, last)):
        return None
    if not first:
        return max(0, size - _number(last)), size - 1
    if last and _number(last) < _number(first):
        return None
    start, end = _number(first), min(_number(last), size - 1) if last else size - 1
    return (start, end) if start < size else (1, 0)


def _number(digits: str) -> int:
    """A number of bytes; all that no file has are one."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < _DIGITS else 10**_DIGITS


def _mime(found: Found) -> str:
    """Its type where a browser merely shows it; what it might carry out is only ever saved."""
    mime = found.mime.partition(";")[0].strip().lower()
    safe = mime.startswith(_SAFE) and mime not in _UNSAFE
    return mime if safe or mime in _PLAIN else _BYTES


def _disposition(found: Found) -> str:
    names = f"filename=\"{quote(found.name)}\"; filename*=UTF-8''{quote(found.name, safe='')}"
    return f"attachment; {names}" if _mime(found) == _BYTES else names


async def _picture(exchange: Exchange, found: Found, preview: str, channel: str) -> None:
    kind, _, quality = preview.partition(";")
    form = kind if kind in ("webp", "jpeg") else "webp" if kind else "png"
    number = int(quality) if quality.isascii() and quality.isdigit() and 0 < int(quality[:4]) <= 100 else 90
    try:
        data = await asyncio.to_thread(_converted, found.path, form, number, channel)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise RefusedError(400, "no_picture", "The file is no picture that can be shown so.") from error
    mime = mimetypes.types_map.get(f".{form}", f"image/{form}")
    await exchange.answer(200, data, [(b"content-type", mime.encode()), (b"cache-control", b"private, no-cache")])


def _converted(path: Path, form: str, quality: int, channel: str) -> bytes:
    """A picture in another form, or its colours or its transparency alone. Raises OSError, ValueError."""
    with Image.open(path) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("too large")
        shown: Image.Image = picture
        if channel == "rgb":
            shown = picture.convert("RGB")
        elif channel == "a":
            alpha = picture.convert("RGBA").getchannel("A")
            shown = Image.new("RGBA", picture.size)
            shown.putalpha(alpha)
        if form == "jpeg" or (channel != "a" and shown.mode not in ("RGB", "RGBA", "L")):
            shown = shown.convert("RGB")
        buffer = io.BytesIO()
        shown.save(buffer, form.upper(), quality=quality)
    return buffer.getvalue()
