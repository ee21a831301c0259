"""What a request leaves in memory once it was answered: nothing, whatever the answer was."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.gateway import browser, door
from comfyops.gateway.connection import Connection
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.refusal import RefusedError
from comfyops.simulator.settings import SimulatorSettings
from tests.unit.gateway.house import House, durable_house, house

_ID = "00000000-0000-4000-8000-000000000000"
_OWN: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "/queue", {}),
    ("GET", "/view?filename=gone.png", {}),
    ("GET", "/view?filename=../x&type=input", {}),
    ("GET", f"/api/jobs/{_ID}", {}),
    ("POST", f"/api/jobs/{_ID}/cancel", {}),
    ("POST", "/interrupt", {"json": {"prompt_id": _ID}}),
    ("GET", "/userdata/gone.json", {}),
    ("DELETE", "/userdata/gone.json", {}),
    ("GET", "/system_stats/../nothing/here", {}),
    ("POST", "/prompt", {"data": b"{"}),
    ("POST", "/prompt", {"json": {"prompt": {"1": {"class_type": "Nobody", "inputs": {}}}}}),
    ("POST", "/prompt", {"json": {"prompt": {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}}}),
    ("POST", "/upload/image", {"data": b"no form"}),
)


@pytest.fixture(params=["durable queue", "passed through"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    made = (
        house(tmp_path, simulated=SimulatorSettings(port=0)) if "through" in request.param else durable_house(tmp_path)
    )
    async with made as found:
        yield found


async def requests(home: House, token: str) -> None:
    """One of each: answered, refused, unknown, wrong; on one connection, which then becomes a websocket."""
    for method, path, options in _OWN:
        await home.ask(method, path, token, **options)
    for wrong in ("x", f"{token}x", ""):
        await home.ask("GET", "/queue", wrong)
        with contextlib.suppress(aiohttp.WSServerHandshakeError):
            await home.session.ws_connect(f"{home.url}/ws", headers={"Authorization": f"Bearer {wrong}"})
    await home.ask("POST", "/auth/login", json={"username": "nobody", "password": "wrong"})
    await home.ask("GET", "/queue", headers={"Host": "elsewhere.example"})
    async with home.session.ws_connect(f"{home.url}/ws?clientId=a", headers={"Authorization": f"Bearer {token}"}) as ws:
        json.loads((await ws.receive()).data)


def held() -> int:
    """How many requests and connections there are in memory."""
    gc.collect()
    return sum(isinstance(item, Exchange | Connection) for item in gc.get_objects())


async def test_no_request_stays_in_memory(home: House) -> None:
    token, before = home.token("ann"), held()
    for _ in range(6):
        await requests(home, token)
    async with asyncio.timeout(20):
        while held() > before + 5:  # noqa: ASYNC110 - a kept connection, and what it served last
            await asyncio.sleep(0.05)


def test_hosts_that_are_long_are_not_remembered() -> None:
    before = browser.host_name.cache_info().currsize, browser._is_address.cache_info().currsize
    for number in range(300):
        with pytest.raises(RefusedError):
            browser.check_host([f"{number}{'a' * 60_000}".encode()], ())
    assert (browser.host_name.cache_info().currsize, browser._is_address.cache_info().currsize) == before


def test_paths_that_are_long_are_not_remembered() -> None:
    before = door._remembered.cache_info().currsize
    for number in range(300):
        assert len(door.place(f"/{number}{'a' * 4_000}".encode()).path) > 4_000
    assert door._remembered.cache_info().currsize == before
