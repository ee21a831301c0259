from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.model_files import ServerModel
from comfyops.errors import NotComfyUIError, UnsupportedError
from comfyops.simulator import Simulator, SimulatorSettings


@asynccontextmanager
async def answering(routes: Mapping[str, Any]) -> AsyncIterator[ComfyUI]:
    """A client for a server that answers these routes with this JSON, and others with 404."""

    async def answer(request: web.Request) -> web.Response:
        if request.path not in routes:
            return web.Response(status=404)
        return web.json_response(routes[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with ComfyUI(f"http://127.0.0.1:{runner.addresses[0][1]}") as backend:
            yield backend
    finally:
        await runner.cleanup()


async def test_a_simulated_server_lists_its_models_with_sizes() -> None:
    async with Simulator(SimulatorSettings(port=0)) as simulator, ComfyUI(simulator.url) as backend:
        found = await backend.model_files()
    assert {item.folder for item in found} > {"checkpoints", "loras", "vae"}
    assert all(item.size for item in found)


async def test_a_name_in_two_paths_counts_once_and_odd_entries_are_left_out() -> None:
    listed = [
        {"name": "a.safetensors", "pathIndex": 0, "size": 5},
        {"name": "a.safetensors", "pathIndex": 1, "size": 7},
        {"name": "b.safetensors", "size": None},
        {"size": 3},
        "c.safetensors",
        7,
    ]
    folders = [{"name": "loras"}, {"name": "configs"}, {"name": "custom_nodes"}, {"name": 7}]
    async with answering({"/experiment/models": folders, "/experiment/models/loras": listed}) as backend:
        found = await backend.model_files()
    assert found == (
        ServerModel("loras", "a.safetensors", 5),
        ServerModel("loras", "b.safetensors", None),
        ServerModel("loras", "c.safetensors", None),
    )


async def test_older_servers_tell_the_names_only() -> None:
    async with answering({"/models": ["vae"], "/models/vae": ["v/x.pt"]}) as backend:
        assert await backend.model_files() == (ServerModel("vae", "v/x.pt", None),)


async def test_servers_without_either_and_odd_answers_are_refused() -> None:
    async with answering({}) as backend:
        with pytest.raises(UnsupportedError):
            await backend.model_files()
    async with answering({"/experiment/models": {"loras": 1}}) as backend:
        with pytest.raises(NotComfyUIError):
            await backend.model_files()
