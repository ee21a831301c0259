"""Uploads of somebody who must not touch the files of others.

A form is read piece by piece into a file on disk, and written anew with what this owner may ask for: two readers of one
form need not agree on what it says, so a server never gets to read the original.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import IO

from comfyops.errors import NotComfyUIError
from comfyops.gateway import forms, naming
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.own import Own
from comfyops.gateway.owners import File, resolved
from comfyops.gateway.prompts import read_json
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.server import Server

_IN_MEMORY = 256 * 1024  # bytes of a file until it goes to disk
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


async def read_form(exchange: Exchange, data: IO[bytes]) -> Form:
    """The form in a request, its file written to `data`. Raises RefusedError."""
    pieces = exchange.stream(exchange.limits.upload_bytes)
    try:
        found = await forms.read(pieces, exchange.first(b"content-type").decode("latin-1"), data, "image")
    except forms.FormError as error:
        code = "no_form" if error.status == 415 else "invalid_form"
        raise RefusedError(error.status, code, error.message) from error
    if found.size is None or not found.filename:
        raise RefusedError(400, "no_image", "The form holds no file named image.")
    if any(len(found.fields.get(name, ())) > 1 for name in _FIELDS):
        raise RefusedError(400, "invalid_form", "The form says a thing twice.")
    _check_name(found.filename)
    fields = {name: found.first(name) for name in _FIELDS if name in found.fields}
    return Form(fields, found.filename, found.content_type or "application/octet-stream", data, found.size)


async def upload(exchange: Exchange, server: Server, own: Own) -> None:
    """POST /upload/image and /upload/mask for this owner; the file that comes of it is the owner's."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        form = await read_form(exchange, spool)
        kind = form.fields.get("type") or "input"
        if kind not in ("input", "temp"):
            raise RefusedError(403, "upload_place", "Uploads go to the input folder.")
        wanted = File(kind, subfolder_of(form), form.filename)
        if "subfolder" in form.fields:
            form = replace(form, fields={**form.fields, "subfolder": wanted.subfolder})
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
    if not await own.may_read(naming.place(kind or "output", subfolder, name)):
        raise RefusedError(404, "not_found", "There is no such original here.")


def _saved(body: bytes) -> File:
    try:
        data = json.loads(body)
        return File(str(data["type"]), resolved(str(data["subfolder"])) or "", str(data["name"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotComfyUIError("The backend does not answer as ComfyUI does.") from error


def _check_name(name: str) -> None:
    odd = name == "." or ".." in name or any(ord(mark) < 32 or mark in '/\\"' for mark in name)
    if odd or len(name.encode()) > 240:
        raise RefusedError(400, "invalid_name", "The file's name is not one to upload.")


def subfolder_of(form: Form) -> str:
    """The subfolder that a form asks for. Raises RefusedError for one that leaves its folder."""
    said = form.fields.get("subfolder", "").replace("\\", "/")
    if len(said) > 240 or ".." in said.split("/") or any(ord(mark) < 32 for mark in said):
        raise RefusedError(400, "invalid_name", "The subfolder is not one to upload to.")
    return resolved(said) or ""
