"""Outputs of a job as files: fetched in pieces, gone on with after a break, checked, never put over something else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from comfyops.client.hashing import file_hash
from comfyops.client.http import GatewayHttp
from comfyops.client.values import JobOutput
from comfyops.errors import IntegrityError, UnreachableError
from comfyops.support.files import safe_path, storage_error

_AT_ONCE = 4
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One output and its file; `verified` = its bytes have the hash that the gateway named."""

    output: JobOutput
    path: Path
    verified: bool


async def save(http: GatewayHttp, outputs: Sequence[JobOutput], folder: Path) -> tuple[SavedFile, ...]:
    """Fetch every output into a folder. A file that is there with the same content stays, another gets a number.

    Raises UnsafeNameError before anything is fetched, OutputGoneError, IntegrityError, StorageError, UnreachableError.
    """
    targets = [safe_path(folder, output.name.rpartition("/")[2]) for output in outputs]
    doors, taken = asyncio.Semaphore(_AT_ONCE), asyncio.Lock()

    async def one(output: JobOutput, target: Path) -> SavedFile:
        async with doors:
            part = target.with_name(f".{target.name[:80]}.{output.id}.part")
            verified = await _fetched(http, output, part)
            async with taken:  # two outputs of one name find each other
                path = await asyncio.to_thread(_place, part, target)
            return SavedFile(output, path, verified)

    tasks = [asyncio.ensure_future(one(*pair)) for pair in zip(outputs, targets, strict=True)]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fetched(http: GatewayHttp, output: JobOutput, part: Path) -> bool:
    """Fill a part to its end, going on where it stopped; whether its hash was compared."""

    async def once() -> None:
        have = await asyncio.to_thread(_begun, part, output)
        if have < output.size_bytes or not have:
            await _read_on(http, output, part, have)

    await http.insisting(once)
    return await asyncio.to_thread(_check, part, output)


def _begun(part: Path, output: JobOutput) -> int:
    """How many bytes are there already. Makes the folder. Raises StorageError."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        size = part.stat().st_size if part.exists() else 0
        if size > output.size_bytes or output.hash is None:  # a text is always fetched whole
            part.unlink(missing_ok=True)
            return 0
        return size
    except OSError as error:
        raise storage_error(error, part) from error


async def _read_on(http: GatewayHttp, output: JobOutput, part: Path, have: int) -> None:
    route = f"/api/v2/assets/{quote(output.id, safe='')}/content"
    headers = {"Range": f"bytes={have}-", "If-Range": f'"{_hex(output)}"'} if have else {}
    async with http.request("GET", route, whole=False, headers=headers) as response:
        mode = "ab" if response.status == 206 else "wb"
        async for piece in response.content.iter_chunked(_PIECE):
            await asyncio.to_thread(_write, part, mode, piece)
            mode = "ab"
        if mode == "wb":  # it is empty
            await asyncio.to_thread(_write, part, mode, b"")
    if output.hash is not None and part.stat().st_size < output.size_bytes:
        raise UnreachableError(f"{http.url} broke off in the middle of {output.name}.")


def _write(part: Path, mode: str, piece: bytes) -> None:
    try:
        with part.open(mode) as file:
            file.write(piece)
    except OSError as error:
        raise storage_error(error, part) from error


def _check(part: Path, output: JobOutput) -> bool:
    """Whether the hash was compared. Raises IntegrityError for other bytes than were promised; they are removed."""
    found = file_hash(part) if output.hash is not None else None
    good = part.stat().st_size == output.size_bytes if output.hash is not None else True
    if not good or (found is not None and found != _hex(output)):
        part.unlink(missing_ok=True)
        raise IntegrityError(f"{output.name} came with other bytes than the gateway promised.", name=output.name)
    return found is not None


def _hex(output: JobOutput) -> str:
    return (output.hash or "").removeprefix("blake3:")


def _place(part: Path, target: Path) -> Path:
    """Give a part its name, or the next free one; the same content that is there already stays."""
    number, path = 1, target
    try:
        while path.exists() and not _same(part, path):
            number += 1
            path = target.with_name(f"{target.stem}-{number}{target.suffix}")
        if path.exists():
            with suppress(OSError):
                part.unlink()
        else:
            part.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def _same(one: Path, other: Path) -> bool:
    if not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
    return True
