"""What our client costs, from submitting a fully cached workflow to its picture in memory, beside raw aiohttp calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import aiohttp

from benchmarks.server import server as running
from benchmarks.table import Row
from benchmarks.timing import Seconds, interleaved_async
from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Finished
from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph

GOAL_RATIO = 1.3


class RawClient:
    """The least that does the same: POST /prompt, websocket until the run ends, GET /history/id, GET /view."""

    def __init__(self, url: str, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.url = url
        self.session = session
        self.socket = socket
        self.client_id = ""

    async def job(self, prompt: dict[str, Any]) -> bytes:
        """The picture that a graph makes."""
        body = {"prompt": prompt, "client_id": self.client_id}
        async with self.session.post(f"{self.url}/prompt", json=body) as response:
            run_id = (await response.json())["prompt_id"]
        await self._end(run_id)
        async with self.session.get(f"{self.url}/history/{run_id}") as response:
            outputs = (await response.json())[run_id]["outputs"]
        (image,) = outputs["2"]["images"]
        async with self.session.get(f"{self.url}/view", params=image) as response:
            return await response.read()

    async def _end(self, run_id: str) -> None:
        async for frame in self.socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                message = json.loads(frame.data)
                data = message["data"]
                if message["type"] == "executing" and data["node"] is None and data["prompt_id"] == run_id:
                    return
        raise ConnectionError("the server closed the websocket")


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Both ways on one server, in turn."""
    repeats = 20 if quick else 400
    with running(server) as (url, name):
        taken = asyncio.run(both(url, repeats))
        fresh = asyncio.run(both_fresh(url, max(5, repeats // 8)))
    beside = f"raw calls {taken['raw'] * 1000:.2f} ms, ours {taken['ours'] * 1000:.2f} ms; {name}, cached, open socket"
    yield Row("client", "submit to outputs, times raw calls", taken["ours"] / taken["raw"], "x", beside, GOAL_RATIO)
    beside = f"raw calls {fresh['raw'] * 1000:.2f} ms, ours {fresh['ours'] * 1000:.2f} ms; {name}, cached"
    yield Row("client", "the same with connecting, times raw", fresh["ours"] / fresh["raw"], "x", beside)


async def both(url: str, repeats: int) -> Seconds:
    """Median seconds of a job done raw and by our client, each with its connections open."""
    graph = graphs.picture(prefix="comfyops-bench")
    prompt = api_format.dump(graph)
    client_id = uuid4().hex
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws", params={"clientId": client_id}) as socket,
        ComfyUI(url) as client,
    ):
        raw = RawClient(url, session, socket)
        raw.client_id = client_id
        if await raw.job(prompt) != await our_job(client, graph):
            raise AssertionError("the two clients do not get the same picture")
        return await interleaved_async(
            {"raw": lambda: raw.job(prompt), "ours": lambda: our_job(client, graph)}, repeats
        )


async def both_fresh(url: str, repeats: int) -> Seconds:
    """The same with connections that are opened and closed for each job."""
    graph = graphs.picture(prefix="comfyops-bench")
    prompt = api_format.dump(graph)

    async def raw_job() -> bytes:
        client_id = uuid4().hex
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/ws", params={"clientId": client_id}) as socket,
        ):
            raw = RawClient(url, session, socket)
            raw.client_id = client_id
            return await raw.job(prompt)

    async def ours() -> bytes:
        async with ComfyUI(url) as client:
            return await our_job(client, graph)

    return await interleaved_async({"raw": raw_job, "ours": ours}, repeats)


async def our_job(client: ComfyUI, graph: Graph) -> bytes:
    """The picture that a graph makes, by our client."""
    async for event in client.run(graph):
        if isinstance(event, Finished):
            return await client.fetch(event.outputs[0])
    raise AssertionError("a run ends with Finished")
