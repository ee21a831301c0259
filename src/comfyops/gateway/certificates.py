"""A certificate that is renewed while it is served: what its files hold then counts for the next connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

log = logging.getLogger("comfyops.gateway")

_EVERY = 10.0  # seconds between two looks

_Seen = tuple[tuple[int, int, int], ...]


@asynccontextmanager
async def kept_fresh(
    context: ssl.SSLContext, certificate: Path, key: Path, every: float = _EVERY
) -> AsyncIterator[None]:
    """Take over a new certificate and key (PEM files) into `context` while the block runs; a look each `every` seconds.

    Files that do not fit together, as in the middle of a change, are left alone until they do.
    """
    task = asyncio.create_task(_watch(context, (certificate, key), every))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch(context: ssl.SSLContext, files: tuple[Path, Path], every: float) -> None:
    served, said = _seen(files), None
    while True:
        await asyncio.sleep(every)
        found = _seen(files)
        if found is None or found == served:
            continue
        try:
            _load(context, files)
        except OSError as error:  # which an SSLError is
            if found != said:
                log.warning("the new certificate or key cannot be used yet: %s", error.strerror or error)
            said = found
        else:
            served = found
            log.info("a new certificate is served")


def _load(context: ssl.SSLContext, files: tuple[Path, Path]) -> None:
    """Into a context of no consequence first: one that is in use must not get half of a pair. Raises OSError."""
    for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        each.load_cert_chain(*files, password=" ")


def _seen(files: tuple[Path, Path]) -> _Seen | None:
    """By what a change of files is noticed; None while one is not there."""
    try:
        found = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in found)
