"""Putting files onto a gateway: what it has already is only named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import aiohttp

from comfyops.client.hashing import file_hash
from comfyops.client.http import GatewayHttp
from comfyops.client.values import Upload, pick
from comfyops.errors import MissingFileError, UnknownAssetError


async def upload(http: GatewayHttp, file: Path | bytes, name: str, mime: str) -> Upload:
    """Have a file kept under a name. Raises MissingFileError, IntegrityError, RejectedError."""
    digest = None
    if isinstance(file, Path):
        await asyncio.to_thread(_check, file)
        digest = await asyncio.to_thread(file_hash, file)
    if digest is not None and (known := await _named(http, digest, name)) is not None:
        return known

    async def once() -> Any:
        form = aiohttp.FormData({"file_path": name, "content_type": mime}, quote_fields=False)
        if digest is not None:
            form.add_field("expected_hash", f"blake3:{digest}")
        async with _opened(file) as content:
            form.add_field("file", content, filename=name.rpartition("/")[2], content_type=mime)
            async with http.request("POST", "/api/v2/assets", whole=False, data=form) as response:
                return await response.json()

    return pick(Upload, await http.insisting(once))


async def _named(http: GatewayHttp, digest: str, name: str) -> Upload | None:
    """One's own file of these bytes under a name; None where there is none."""
    try:
        found = await http.ask(
            "POST", "/api/v2/assets/from-hash", json={"hash": f"blake3:{digest}", "file_path": name}, again=True
        )
    except UnknownAssetError:
        return None
    return pick(Upload, found)


@asynccontextmanager
async def _opened(file: Path | bytes) -> AsyncIterator[IO[bytes]]:
    if isinstance(file, bytes):
        yield BytesIO(file)
        return
    opened = await asyncio.to_thread(file.open, "rb")
    try:
        yield opened
    finally:
        opened.close()


def _check(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise MissingFileError(f"{file} cannot be read: {error.strerror or error}.", path=str(file)) from error
