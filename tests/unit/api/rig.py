"""The API over a real queue with a simulated backend, served by uvicorn, as the gateway would mount it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from comfyops.api.v2.app import ApiSettings, build
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.gateway.refusal import RefusedError
from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.queue import Queue
from comfyops.simulator import Simulator, SimulatorSettings


def person(name: str, role: str = "artist") -> Principal:
    return Principal(name, name, role, scopes.ROLES[role], "token", f"{name}-token")


_SAMPLING: dict[str, Any] = {
    **{"cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
    **{"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]},
}

PEOPLE = {"ann": person("ann"), "bob": person("bob"), "olga": person("olga", "operator")}


def picture(seed: int = 1, *, steps: int = 4, prefix: str = "cat") -> dict[str, Any]:
    """A graph that makes one picture from text."""

    def node(class_type: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": inputs}

    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "2": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
        "3": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "4": node("KSampler", seed=seed, steps=steps, **_SAMPLING),
        "5": node("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": node("SaveImage", images=["5", 0], filename_prefix=prefix),
    }


@dataclass
class Rig:
    """What a test needs: the address, the queue, and requests as somebody."""

    url: str
    queue: Queue
    simulator: Simulator
    session: aiohttp.ClientSession
    refused: dict[str, RefusedError] = field(default_factory=dict)

    async def ask(self, method: str, path: str, who: str = "ann", **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        headers = {"X-Who": who, **options.pop("headers", {})}
        async with self.session.request(method, f"{self.url}/api/v2{path}", headers=headers, **options) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, (await answer.json() if is_json else await answer.read()), answer.headers

    async def submit(self, who: str = "ann", **body: Any) -> dict[str, Any]:
        status, job, _ = await self.ask("POST", "/jobs", who, json={"workflow": picture(), **body})
        assert status == 201, job
        return job

    async def done(self, job: str, who: str = "ann") -> dict[str, Any]:
        await self.queue.wait(job, timeout=60)
        return (await self.ask("GET", f"/jobs/{job}", who))[1]


@asynccontextmanager
async def rig(
    tmp_path: Path, *, dispatch: bool = True, folders: tuple[Path, ...] = (), **simulator: Any
) -> AsyncIterator[Rig]:
    """Everything, running. Who asks stands in the header X-Who (the simulator takes its settings by name)."""
    refused: dict[str, RefusedError] = {}

    async def admit(graph: Mapping[str, Any], who: Principal) -> None:
        if who.id in refused:
            raise refused[who.id]

    async with (
        Simulator(SimulatorSettings(port=0, home=tmp_path / "simulator", **simulator)) as backend,
        await asyncio.to_thread(Queue, "", tmp_path / "queue") as queue,
    ):
        await queue.fleet.add(backend.url)
        api = build(queue, admit, ApiSettings(max_upload=1024 * 1024, folders=folders))

        async def door(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                name = dict(scope["headers"]).get(b"x-who", b"ann").decode()
                scope["state"] = {"principal": PEOPLE.get(name)}
            await api(scope, receive, send)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(door, log_level="error", lifespan="off"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession() as session:
                    found = Rig(url, queue, backend, session, refused)
                    if dispatch:
                        async with Dispatcher(queue, "test"):
                            yield found
                    else:
                        yield found
            finally:
                server.should_exit = True
                await serving
