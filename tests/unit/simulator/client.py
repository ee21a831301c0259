"""A small client for tests of the simulator: raw HTTP and websocket, nothing of ours in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from comfyops.simulator import Simulator, SimulatorSettings

SAVE_ONE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "t", "images": ["1", 0]}},
}


def sampling(steps: int, seed: int = 1) -> dict[str, Any]:
    """A graph with a sampler, on a checkpoint of the simulator's own inventory."""
    checkpoint = "v1-5-pruned-emaonly.safetensors"
    sampler = {"seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {**sampler, "denoise": 1.0, **links}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "s", "images": ["8", 0]}},
    }


class Client:
    """Requests to one simulator."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.http = http

    async def get(self, path: str, **more: Any) -> Any:
        """The parsed JSON of a GET."""
        async with self.http.get(self.simulator.url + path, **more) as response:
            return json.loads(await response.read())

    async def status(self, method: str, path: str, **more: Any) -> int:
        """The status of any request."""
        async with self.http.request(method, self.simulator.url + path, **more) as response:
            await response.read()
            return response.status

    async def post(self, path: str, body: Any) -> Any:
        """The parsed JSON of a POST."""
        async with self.http.post(self.simulator.url + path, json=body) as response:
            text = await response.read()
            return json.loads(text) if text else None

    async def submit(self, prompt: Any, **more: Any) -> str:
        """Submit a prompt; its id."""
        answer = await self.post("/prompt", {"prompt": prompt, **more})
        return str(answer["prompt_id"])

    async def run(self, prompt: Any, **more: Any) -> dict[str, Any]:
        """Submit a prompt and wait for its history entry."""
        prompt_id = await self.submit(prompt, **more)
        await self.until(lambda: self.get(f"/history/{prompt_id}"))
        return dict((await self.get(f"/history/{prompt_id}"))[prompt_id])

    async def until(self, ask: Callable[[], Any], limit: float = 20) -> Any:
        """Poll until the answer is not empty."""
        end = time.monotonic() + limit
        while not (answer := await ask()):
            assert time.monotonic() < end, "it did not happen in time"
            await asyncio.sleep(0.005)
        return answer

    async def running(self) -> Any:
        """What runs now."""
        return (await self.get("/queue"))["queue_running"]

    async def socket(self, client_id: str = "") -> aiohttp.ClientWebSocketResponse:
        """A websocket."""
        return await self.http.ws_connect(f"{self.simulator.url}/ws?clientId={client_id}")


async def messages_until_end(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """JSON messages up to the end of a run."""
    found: list[dict[str, Any]] = []
    while not (found and found[-1]["type"] == "executing" and found[-1]["data"]["node"] is None):
        message = await socket.receive(20)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.TEXT:
            found.append(json.loads(message.data))
    return found


@contextlib.asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[Client]:
    """A client of a fresh simulator with these settings."""
    async with Simulator(SimulatorSettings(port=0, **settings)) as simulator, aiohttp.ClientSession() as http:
        yield Client(simulator, http)
