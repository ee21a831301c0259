"""A form with one file (multipart/form-data), read piece by piece: the file goes to disk as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

FIELD_BYTES = 64 * 1024
"""Most bytes of a field that is no file, and of a header."""

_PARTS = 200  # of one form
_AT_ONCE = 64 * 1024  # bytes that are written without a thread
_CALLBACKS = (
    *("on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value"),
    *("on_header_end", "on_headers_finished"),
)


class FormError(Exception):
    """A body that is no such form: `status` is what to answer, `message` the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Form:
    """What came beside the bytes of the file: the fields' values in order, the file's name, type and size in bytes.

    `filename` is "" for a file without a name, `content_type` "" for one without a type; `size` None = no file came.
    """

    fields: dict[str, list[str]]
    filename: str
    content_type: str
    size: int | None

    def first(self, name: str) -> str:
        """The first value of a field, "" where there is none."""
        return next(iter(self.fields.get(name, ())), "")


async def read(
    pieces: AsyncIterator[bytes], content_type: str, data: IO[bytes], file_part: str, limit: int | None = None
) -> Form:
    """The form in a body, the file of its part `file_part` written to `data`, `limit` bytes at most. Raises FormError;
    what reading and writing raise."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise FormError(415, "The body is no form (multipart/form-data).")
    reading = _Reading(data, file_part, limit)
    callbacks: Any = {name: getattr(reading, name) for name in _CALLBACKS}
    try:
        parser = MultipartParser(boundary.encode("latin-1", "replace"), callbacks)
        async for piece in pieces:
            if len(piece) > _AT_ONCE:
                await asyncio.to_thread(parser.write, piece)
            else:
                parser.write(piece)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _broken() from error
    return Form(reading.fields, reading.filename, reading.content_type, reading.size)


@dataclass
class _Reading:
    """What the parser has told so far."""

    data: IO[bytes]
    file_part: str
    limit: int | None
    fields: dict[str, list[str]] = field(default_factory=dict)
    filename: str = ""
    content_type: str = ""
    size: int | None = None
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] = field(default_factory=dict)
    _part: str = ""
    _parts: int = 0
    _is_file: bool = False
    _text: bytearray = field(default_factory=bytearray)

    def on_part_begin(self) -> None:
        """A new part."""
        self._parts += 1
        if self._parts > _PARTS:
            raise FormError(400, f"The form has more than {_PARTS} parts.")
        self._headers, self._text, self._is_file = {}, bytearray(), False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's name."""
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's value."""
        self._value += data[start:end]
        if len(self._value) + len(self._name) > FIELD_BYTES:
            raise _broken()

    def on_header_end(self) -> None:
        """A whole header."""
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        """The head of a part."""
        message = Message()
        message["Content-Disposition"] = self._headers.get("content-disposition", "")
        name = message.get_param("name", header="Content-Disposition")
        if not isinstance(name, str):
            raise _broken()
        self._part, self._is_file = name, name == self.file_part
        if self._is_file:
            if self.size is not None:
                raise FormError(400, f"The form has more than one part `{self.file_part}`.")
            self.size = 0
            self.filename = message.get_filename() or ""
            self.content_type = self._headers.get("content-type", "")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Some of a part."""
        if not self._is_file:
            self._text += data[start:end]
            if len(self._text) > FIELD_BYTES:
                raise FormError(400, f"The part {self._part[:40]!r} is too long.")
            return
        self.size = (self.size or 0) + end - start
        if self.limit is not None and self.size > self.limit:
            raise FormError(413, f"The file is larger than {self.limit} bytes.")
        self.data.write(data[start:end])

    def on_part_end(self) -> None:
        """A whole part."""
        if not self._is_file:
            self.fields.setdefault(self._part, []).append(self._text.decode("utf-8", "replace"))


def _broken() -> FormError:
    return FormError(400, "The form is broken.")
