"""A multipart upload, written to disk as it comes."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from comfyops.api.v2.faults import ApiError
from comfyops.jobs.files import Files
from comfyops.support.files import storage_error

_MAX_FIELD = 16_384  # bytes of one field that is not the file
_MAX_FIELDS = 200


@dataclass
class Upload:
    """What came: the file at `path`, the texts beside it."""

    path: Path
    filename: str = ""
    part_type: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def content_type(self, name: str) -> str:
        """The type that the client says, else the one that the name tells."""
        said = self.fields.get("content_type") or self.part_type
        if said and said.isprintable() and len(said) < 200 and said != "application/octet-stream":
            return said
        return mimetypes.guess_type(name)[0] or "application/octet-stream"


@asynccontextmanager
async def receive(request: Request, files: Files, limit: int) -> AsyncIterator[Upload]:
    """Read a multipart body; its file is removed after the block unless it was taken over.

    Raises ApiError where the body has not the form, or its file is larger than `limit` bytes; StorageError.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(400, "invalid_request", "The body is not multipart/form-data.")
    path = files.incoming()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            reader = _Reader(options[b"boundary"], target, limit)
            await _read(request, reader)
        reader.check()
        yield Upload(path, reader.filename, reader.part_type, reader.fields, reader.tags)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        path.unlink(missing_ok=True)


async def _read(request: Request, reader: _Reader) -> None:
    try:
        async for piece in request.stream():
            await asyncio.to_thread(reader.parser.write, piece)
        reader.parser.finalize()
    except FormParserError as error:
        raise ApiError(400, "invalid_request", "The body is not well-formed multipart/form-data.") from error


class _Reader:
    """Takes what the parser finds."""

    def __init__(self, boundary: bytes, target: IO[bytes], limit: int) -> None:
        self.filename = ""
        self.part_type = ""
        self.fields: dict[str, str] = {}
        self.tags: list[str] = []
        self._target = target
        self._limit = limit
        self._size = 0
        self._files = 0
        self._parts = 0
        self._name = ""
        self._is_file = False
        self._text = b""
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._headers: dict[bytes, bytes] = {}
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._head(data[start:end], b""),
                "on_header_value": lambda data, start, end: self._head(b"", data[start:end]),
                "on_header_end": self._head_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, start, end: self._data(data[start:end]),
                "on_part_end": self._end,
            },
        )

    def check(self) -> None:
        """Raise ApiError where the file or its name is missing."""
        if not self._files:
            raise ApiError(400, "invalid_request", "The body has no part `file`.")
        if not (self.fields.get("file_path") or self.filename):
            raise ApiError(400, "invalid_request", "The body has no part `file_path`.")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_FIELDS:
            raise ApiError(400, "invalid_request", "The body has too many parts.")
        self._headers, self._header, self._text = {}, (b"", b""), b""

    def _head(self, name: bytes, value: bytes) -> None:
        self._header = (self._header[0] + name, self._header[1] + value)

    def _head_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if self._is_file:
            self._files += 1
            if self._files > 1:
                raise ApiError(400, "invalid_request", "The body has more than one part `file`.")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self.part_type = self._headers.get(b"content-type", b"").decode("latin-1")

    def _data(self, piece: bytes) -> None:
        if self._is_file:
            self._size += len(piece)
            if self._size > self._limit:
                raise ApiError(413, "payload_too_large", f"The file is larger than {self._limit} bytes.")
            self._target.write(piece)
        elif len(self._text) + len(piece) > _MAX_FIELD:
            raise ApiError(400, "invalid_request", f"The part {self._name[:40]!r} is too long.")
        else:
            self._text += piece

    def _end(self) -> None:
        if self._is_file:
            return
        text = self._text.decode("utf-8", "replace").strip()
        if self._name == "tags":
            self.tags.append(text[:200])
        else:
            self.fields[self._name] = text
