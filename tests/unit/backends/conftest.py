from collections.abc import AsyncIterator

import pytest

from comfyops.backends.comfyui import ComfyUI
from tests.unit.backends.scripted import QUICK, ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[ComfyUI]:
    async with ComfyUI(server.url, pace=QUICK, timeout=2.0, stall_timeout=20.0) as comfyui:
        yield comfyui
