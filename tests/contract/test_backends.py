"""One contract, run on the fake, on the simulator as two versions, and on a real server where COMFYUI_URL is set."""

import os
from collections.abc import AsyncIterator

import pytest

from comfyops.backends.backend import Backend
from comfyops.backends.comfyui import ComfyUI
from comfyops.testing.backend_contract import BackendContract
from comfyops.testing.fakes import FakeBackend
from comfyops.workflows.node_types import SHIPPED

REAL = os.environ.get("COMFYUI_URL", "")


class TestFake(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return FakeBackend(seconds_per_node=0.03)


@pytest.mark.parametrize("version", SHIPPED)
class TestSimulator(BackendContract):
    @pytest.fixture
    async def backend(self, version: str) -> AsyncIterator[Backend]:
        from comfyops.simulator import Simulator, SimulatorSettings

        settings = SimulatorSettings(port=0, version=version, seconds_per_node=0.05)
        async with Simulator(settings) as simulator, ComfyUI(simulator.url) as server:
            yield server


if REAL:

    class TestRealServer(BackendContract):
        @pytest.fixture
        async def backend(self) -> AsyncIterator[Backend]:
            async with ComfyUI(REAL) as server:
                yield server
