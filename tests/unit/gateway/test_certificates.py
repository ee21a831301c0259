"""A certificate that is renewed while connections come."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from comfyops.gateway.certificates import kept_fresh
from tests.certificate import self_signed


@asynccontextmanager
async def server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Something that answers by TLS; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as made_:
        yield made_.sockets[0].getsockname()[1]


async def shown(port: int) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found


def der(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


async def test_a_renewed_certificate_counts_for_the_next_connection_once_its_key_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served, renewed = self_signed(tmp_path / "served"), self_signed(tmp_path / "renewed")
    first, second = der(served[0]), der(renewed[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*served)
    caplog.set_level(logging.INFO, "comfyops.gateway")
    async with server(context) as port, kept_fresh(context, *served, every=0.02):
        assert await shown(port) == first
        shutil.copy(renewed[0], served[0])  # half of the change: the key is still the old one
        async with asyncio.timeout(20):
            while "cannot be used yet" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await shown(port) == first
        served[1].unlink()
        shutil.copy(renewed[1], served[1])
        async with asyncio.timeout(20):
            while await shown(port) != second:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert caplog.text.count("a new certificate is served") == 1
