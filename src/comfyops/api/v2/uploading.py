"""A multipart upload, written to disk as it comes."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import Request

from comfyops.api.v2.faults import ApiError
from comfyops.gateway import forms
from comfyops.gateway.forms import Form, FormError
from comfyops.jobs.files import Files
from comfyops.support.files import storage_error


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
    path = files.incoming()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            form = await _read(request, target, limit)
        upload = Upload(path, form.filename, form.content_type, _fields(form), [tag[:200] for tag in _tags(form)])
        if not (upload.fields.get("file_path") or upload.filename):
            raise ApiError(400, "invalid_request", "The body has no part `file_path`.")
        yield upload
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        path.unlink(missing_ok=True)


async def _read(request: Request, target: IO[bytes], limit: int) -> Form:
    try:
        form = await forms.read(request.stream(), request.headers.get("content-type", ""), target, "file", limit)
    except FormError as error:
        if error.status == 413:
            raise ApiError(413, "payload_too_large", error.message) from error
        raise ApiError(400, "invalid_request", error.message) from error
    if form.size is None:
        raise ApiError(400, "invalid_request", "The body has no part `file`.")
    return form


def _fields(form: Form) -> dict[str, str]:
    return {name: values[-1].strip() for name, values in form.fields.items() if name != "tags"}


def _tags(form: Form) -> list[str]:
    return [tag.strip() for tag in form.fields.get("tags", ())]
