"""The door that lets pages of several origins to a server that can name one only."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from comfyops.deploy.launch import free_port
from comfyops.deploy.origins import door
from comfyops.errors import PortInUseError
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format

PAGES = ("http://localhost:3000", "https://Studio.example")


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A door before a simulated server, which refuses pages of others as ComfyUI does."""
    port = free_port()
    async with (
        Simulator(SimulatorSettings(port=0)) as simulator,
        door(["127.0.0.1"], port, simulator.url, PAGES),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
    ):
        yield f"http://127.0.0.1:{port}", session


async def test_pages_of_every_allowed_origin_may_read_answers() -> None:
    async with opened() as (url, session):
        for page in PAGES:
            headers = {"Origin": page, "Sec-Fetch-Site": "cross-site"}
            async with session.get(f"{url}/system_stats", headers=headers) as answer:
                assert (answer.status, answer.headers.getall("Access-Control-Allow-Origin")) == (200, [page])
                assert answer.headers["Vary"] == "Origin" and "system" in await answer.json()
            asks = {**headers, "Access-Control-Request-Method": "POST"}
            async with session.options(f"{url}/prompt", headers=asks) as answer:
                assert answer.status == 204 and "POST" in answer.headers["Access-Control-Allow-Methods"]


async def test_other_pages_are_refused_and_what_is_no_page_passes() -> None:
    async with opened() as (url, session):
        for origin in ("http://localhost:3001", "http://evil.example", "null", "http://localhost:3000.evil.example"):
            async with session.get(f"{url}/queue", headers={"Origin": origin}) as answer:
                assert answer.status == 403 and "Access-Control-Allow-Origin" not in answer.headers
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(f"{url}/ws", headers={"Origin": origin})
        for headers in ({}, {"Origin": url}):
            async with session.get(f"{url}/queue", headers=headers) as answer:
                assert answer.status == 200 and "Access-Control-Allow-Origin" not in answer.headers


async def test_a_page_runs_a_workflow_through_it() -> None:
    page = {"Origin": PAGES[0]}
    async with opened() as (url, session), session.ws_connect(f"{url}/ws?clientId=me", headers=page) as socket:
        prompt = {"prompt": api_format.dump(graphs.picture()), "client_id": "me"}
        async with session.post(f"{url}/prompt", json=prompt, headers=page) as answer:
            assert answer.status == 200, await answer.text()
            job = (await answer.json())["prompt_id"]
        seen: list[Any] = []
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                seen.append(message.json())
                if seen[-1]["type"] == "execution_success":
                    break
        assert seen[-1]["data"]["prompt_id"] == job


async def test_files_pass_both_ways_as_they_are() -> None:
    data = bytes(range(256)) * 8000
    async with opened() as (url, session):
        form = aiohttp.FormData()
        form.add_field("image", io.BytesIO(data), filename="a b.png")
        async with session.post(f"{url}/upload/image", data=form, headers={"Origin": PAGES[0]}) as answer:
            name = (await answer.json())["name"]
        async with session.get(f"{url}/view", params={"filename": name, "type": "input"}) as answer:
            assert await answer.read() == data


async def test_a_server_that_is_gone_is_told() -> None:
    port = free_port()
    async with door(["127.0.0.1"], port, f"http://127.0.0.1:{free_port()}", PAGES), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/queue") as answer:
            assert answer.status == 502
        with pytest.raises(PortInUseError):
            async with door(["127.0.0.1"], port, "http://127.0.0.1:9", PAGES):
                pass
