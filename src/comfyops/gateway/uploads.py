"""Uploads of somebody who must not touch the files of others.

A form is read piece by piece into a file on disk, and written anew with what this owner may ask for: two readers of one
form need not agree on what it says, so a server never gets to read the original.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import IO, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from comfyops.gateway.exchange import Exchange
from comfyops.gateway.own import Own
from comfyops.gateway.owners import File
from comfyops.gateway.prompts import read_json
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.server import Server

_IN_MEMORY = 256 * 1024  # bytes of a file until it goes to disk
_FIELD = 64 * 1024  # bytes of a field that is no file
_PIECE = 256 * 1024
_FIELDS = ("type", "subfolder", "overwrite", "original_ref")


@dataclass(frozen=True)
class Form:
    """The fields of an upload, and its file."""

    fields: dict[str, str]
    filename: str
    content_type: str
    data: IO[bytes]
    size: int


@dataclass
class _Reading:
    """What the parser has told so far."""

    data: IO[bytes]
    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    content_type: str = "application/octet-stream"
    size: int = 0
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] = field(default_factory=dict)
    _part: str = ""
    _is_file: bool = False
    _text: bytearray = field(default_factory=bytearray)

    def on_part_begin(self) -> None:
        """A new part."""
        self._headers, self._text, self._is_file = {}, bytearray(), False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's name."""
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's value."""
        self._value += data[start:end]
        if len(self._value) > _FIELD:
            raise _bad()

    def on_header_end(self) -> None:
        """A whole header."""
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        """The head of a part."""
        message = Message()
        message["Content-Disposition"] = self._headers.get("content-disposition", "")
        name, filename = message.get_param("name", header="Content-Disposition"), message.get_filename()
        if not isinstance(name, str):
            raise _bad()
        self._part, self._is_file = name, name == "image"
        if self._is_file:
            if self.filename or not filename:
                raise _bad()
            self.filename = filename
            self.content_type = self._headers.get("content-type", self.content_type)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Some of a part."""
        if self._is_file:
            self.data.write(data[start:end])
            self.size += end - start
        else:
            self._text += data[start:end]
            if len(self._text) > _FIELD:
                raise _bad()

    def on_part_end(self) -> None:
        """A whole part."""
        if not self._is_file and self._part in _FIELDS:
            if self._part in self.fields:
                raise _bad()
            self.fields[self._part] = self._text.decode("utf-8", "replace")


async def read_form(exchange: Exchange, data: IO[bytes]) -> Form:
    """The form in a request, its file written to `data`. Raises RefusedError."""
    message = Message()
    message["Content-Type"] = exchange.first(b"content-type").decode("latin-1")
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise RefusedError(415, "no_form", "An upload is a form (multipart/form-data).")
    reading = _Reading(data)
    names = (
        *("on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value"),
        *("on_header_end", "on_headers_finished"),
    )
    callbacks: Any = {name: getattr(reading, name) for name in names}
    parser = MultipartParser(boundary.encode("latin-1", "replace"), callbacks)
    try:
        async for part in exchange.stream(exchange.limits.upload_bytes):
            parser.write(part)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _bad() from error
    if not reading.filename:
        raise RefusedError(400, "no_image", "The form holds no file named image.")
    _check_name(reading.filename)
    return Form(reading.fields, reading.filename, reading.content_type, data, reading.size)


async def upload(exchange: Exchange, server: Server, own: Own) -> None:
    """POST /upload/image and /upload/mask for this owner; the file that comes of it is the owner's."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        form = await read_form(exchange, spool)
        kind = form.fields.get("type") or "input"
        if kind not in ("input", "temp"):
            raise RefusedError(403, "upload_place", "Uploads go to the input folder.")
        wanted = File(kind, form.fields.get("subfolder", "").replace("\\", "/").strip("/"), form.filename)
        check_place(wanted.subfolder)
        if "original_ref" in form.fields:
            await _check_original(form.fields["original_ref"], exchange, own)
        if form.fields.get("overwrite") in ("true", "1") and not own.overwrites(wanted):
            form = replace(form, fields={**form.fields, "overwrite": "false"})
        answer_body, status = await _send(exchange, server, form)
    if status == 200:
        own.keep(_saved(answer_body))
    await exchange.answer(status, answer_body, [(b"content-type", b"application/json; charset=utf-8")])


async def _send(exchange: Exchange, server: Server, form: Form) -> tuple[bytes, int]:
    boundary = uuid.uuid4().hex.encode()
    head, tail = _frame(form, boundary)
    headers = [
        (b"content-type", b"multipart/form-data; boundary=" + boundary),
        (b"content-length", str(len(head) + form.size + len(tail)).encode()),
    ]
    form.data.seek(0)
    answer = await server.upstream.send("POST", exchange.target, headers, _pieces(head, form.data, tail))
    body = await answer.read(exchange.limits.small_bytes)
    if answer.status >= 400:
        raise RefusedError(answer.status if answer.status < 500 else 400, "upload_refused", "The server refused this.")
    return body, answer.status


def _frame(form: Form, boundary: bytes) -> tuple[bytes, bytes]:
    lines = []
    for name, value in form.fields.items():
        lines.append(b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % (boundary, name.encode()))
        lines.append(value.encode() + b"\r\n")
    filename = form.filename.encode()
    kind = form.content_type.encode("ascii", "ignore").translate(None, b"\r\n\0")
    lines.append(
        b'--%b\r\nContent-Disposition: form-data; name="image"; filename="%b"\r\nContent-Type: %b\r\n\r\n'
        % (boundary, filename, kind)
    )
    return b"".join(lines), b"\r\n--%b--\r\n" % boundary


async def _pieces(head: bytes, data: IO[bytes], tail: bytes) -> AsyncIterator[bytes]:
    yield head
    while piece := data.read(_PIECE):
        yield piece
    yield tail


async def _check_original(text: str, exchange: Exchange, own: Own) -> None:
    ref = read_json(text.encode(), exchange.limits)
    values = [ref.get(key, "") for key in ("type", "subfolder", "filename")] if isinstance(ref, dict) else []
    if not values or not all(isinstance(value, str) for value in values):
        raise RefusedError(400, "invalid_original", "The original_ref names no file.")
    kind, subfolder, name = values
    if not await own.may_read(File(kind or "output", subfolder.replace("\\", "/").strip("/"), name)):
        raise RefusedError(404, "not_found", "There is no such original here.")


def _saved(body: bytes) -> File:
    data = json.loads(body)
    return File(str(data["type"]), str(data["subfolder"]).replace("\\", "/").strip("/"), str(data["name"]))


def _check_name(name: str) -> None:
    if len(name.encode()) > 240 or any(ord(mark) < 32 or mark in '/\\"' for mark in name) or ".." in name:
        raise RefusedError(400, "invalid_name", "The file's name is not one to upload.")


def check_place(subfolder: str) -> None:
    """Raise RefusedError for a subfolder that leaves its folder."""
    if len(subfolder) > 240 or ".." in subfolder.split("/") or any(ord(mark) < 32 for mark in subfolder):
        raise RefusedError(400, "invalid_name", "The subfolder is not one to upload to.")


def _bad() -> RefusedError:
    return RefusedError(400, "invalid_form", "The form is broken.")
