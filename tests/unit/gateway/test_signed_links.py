"""Signed links through the door: the one way to a file without a credential, and none to anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from comfyops.api.v2.app import build
from comfyops.jobs.queue import Queue
from tests.unit.gateway.house import House, house


async def _nobody_minds(graph: object, who: object) -> None:
    """Every graph may run."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with await asyncio.to_thread(Queue, "", tmp_path / "queue") as queue:
        api = build(queue, _nobody_minds)
        mounts = {f"/api/v2/{name}": api for name in ("assets", "signed")}
        async with house(tmp_path, mounts=mounts) as made:
            yield made


async def stored(home: House) -> str:
    """The link to a file that somebody put there."""
    form = aiohttp.FormData({"file_path": "a.bin"})
    form.add_field("file", BytesIO(b"bytes"), filename="a.bin")
    status, asset = await home.ask("POST", "/api/v2/assets", home.token("ann"), data=form)
    assert status == 201, asset
    parts = urlsplit(asset["url"])
    return f"{parts.path}?{parts.query}"


async def test_a_link_is_followed_without_a_credential(home: House) -> None:
    link = await stored(home)
    assert await home.ask("GET", link) == (200, "bytes")
    assert (await home.ask("GET", link.replace("/signed/", "/assets/")))[0] == 401
    assert (await home.ask("POST", link))[0] == 401
    status, error = await home.ask("GET", link + "x")
    assert (status, error["error"]["code"]) == (403, "forbidden")


async def test_no_record_has_a_signature(home: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    link = await stored(home)
    signature = link.partition("signature=")[2]
    for method, path in (("GET", link), ("GET", link + "x"), ("DELETE", link)):
        await home.ask(method, path)
    assert len(signature) > 40
    assert any(line.target.startswith("DELETE /v2/signed/") for line in home.ledger.lines)
    assert not any(signature in line.target + line.reason for line in home.ledger.lines)
    # The client of this test logs what it asks for.
    assert not any(signature in record.getMessage() for record in caplog.records if record.name.startswith("comfyops"))
