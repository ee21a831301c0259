"""Files of a server: pictures and masks go up, results come down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

import aiohttp

from comfyops.backends import answers
from comfyops.backends.events import Output, OutputKind
from comfyops.backends.http import Http
from comfyops.backends.refusals import gone
from comfyops.errors import BackendError, OutputGoneError
from comfyops.support.files import safe_path, storage_error, writing

_SMALL = 16 * 1024  # bytes that are written sooner than handed to a thread
_PIECE = 256 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Download:
    """A file that comes: its bytes in pieces, and the server's mark of this version of it ("" = it gives none)."""

    mark: str
    pieces: AsyncIterator[bytes]


class ServerFiles:
    """The folders "input", "output" and "temp" of one server."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def upload_image(self, name: str, data: bytes | Path, subfolder: str, overwrite: bool) -> str:
        """See `Backend.upload_image`."""
        fields = {"type": "input", "subfolder": subfolder} | ({"overwrite": "true"} if overwrite else {})
        return await self._upload("/upload/image", name, data, fields)

    async def upload_mask(self, name: str, data: bytes, original: Output) -> str:
        """See `Backend.upload_mask`. A server answers 200 also where it saved nothing, so both files are checked."""
        await self.check(original)
        reference = {"filename": original.filename, "subfolder": original.subfolder, "type": original.folder_type}
        fields = {"type": "input", "original_ref": json.dumps(reference)}
        saved = await self._upload("/upload/mask", name, data, fields)
        subfolder, _, filename = saved.rpartition("/")
        await self.check(Output("", OutputKind.IMAGE, filename, subfolder, "input"))
        return saved

    async def check(self, output: Output) -> None:
        """Raise OutputGoneError where the file is not there."""
        try:
            async with self._http.request("HEAD", "/view", params=_query(output)):
                pass
        except BackendError as error:
            raise gone(error, output) from error

    async def fetch(self, output: Output) -> bytes:
        """See `Backend.fetch`."""
        if not output.filename:
            return output.text.encode()
        try:
            return await self._http.read("/view", _query(output))
        except BackendError as error:
            raise gone(error, output) from error

    async def fetch_to(self, output: Output, path: Path) -> None:
        """See `Backend.fetch_to`."""
        async with _writing(path) as file:
            if not output.filename:
                file.write(output.text.encode())
                return
            try:
                async for piece in self._http.pieces("/view", _query(output)):
                    if len(piece) > _SMALL:
                        await asyncio.to_thread(file.write, piece)
                    else:
                        file.write(piece)
            except BackendError as error:
                raise gone(error, output) from error

    @asynccontextmanager
    async def download(self, output: Output) -> AsyncIterator[Download]:
        """An output file as it comes. Raises OutputGoneError, also while it is read; what the block raises passes."""
        try:
            async with self._http.request("GET", "/view", params=_query(output), whole=False) as response:
                yield Download(response.headers.get("ETag", ""), response.content.iter_chunked(_PIECE))
        except BackendError as error:
            raise gone(error, output) from error

    async def is_still(self, output: Output, mark: str) -> bool:
        """Whether the file is there as it was when a download of it had this mark. False where nobody can tell."""
        if not mark:
            return False
        try:
            async with self._http.request("HEAD", "/view", params=_query(output), headers={"If-None-Match": mark}):
                return False
        except BackendError as error:
            return error.facts.get("status") == HTTPStatus.NOT_MODIFIED

    async def size(self, output: Output) -> int | None:
        """How many bytes a file has, None where it is not there."""
        try:
            async with self._http.request("HEAD", "/view", params=_query(output)) as response:
                return response.content_length
        except BackendError as error:
            if isinstance(gone(error, output), OutputGoneError):
                return None
            raise

    async def _upload(self, route: str, name: str, data: bytes | Path, fields: dict[str, str]) -> str:
        safe_path(Path(), name.replace("/", "\\"))  # the name itself must not hold a folder
        if fields.get("subfolder"):
            safe_path(Path(), fields["subfolder"])
        with _opened(data) as source:
            form = aiohttp.FormData(fields, quote_fields=False)
            form.add_field("image", source, filename=name, content_type="application/octet-stream")
            answer = await self._http.json("POST", route, data=form, whole=False)
        saved, subfolder = answers.uploaded(answer)
        return f"{subfolder}/{saved}" if subfolder else saved


@contextmanager
def _opened(data: bytes | Path) -> Iterator[bytes | IO[bytes]]:
    """What a form takes: a file is read as it is sent."""
    if isinstance(data, bytes):
        yield data
        return
    try:
        file = data.open("rb")
    except OSError as error:
        raise storage_error(error, data) from error
    with file:
        yield file


@asynccontextmanager
async def _writing(path: Path) -> AsyncIterator[IO[bytes]]:
    """`support.files.writing`, with the wait for the disk in a thread: the websocket must be read meanwhile."""
    writer = writing(path)
    file = writer.__enter__()
    try:
        yield file
    except BaseException as error:
        writer.__exit__(type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(writer.__exit__, None, None, None)


def _query(output: Output) -> dict[str, str]:
    return {"filename": output.filename, "subfolder": output.subfolder, "type": output.folder_type or "output"}
