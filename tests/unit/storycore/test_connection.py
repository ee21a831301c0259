from __future__ import annotations

import asyncio

import pytest

from comfyops import config
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.storycore import advanced_workflow_manager as manager_module
from comfyops.storycore.advanced_workflow_base import WorkflowRequest
from comfyops.storycore.comfyui_config import ComfyUIConfig
from comfyops.storycore.connection import Connection, memory_in_use
from comfyops.testing.fakes import FakeBackend


async def test_all_who_use_it_at_once_share_one_client_that_ends_with_the_last():
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        connection = Connection(settings=config.Settings(server=simulator.url))
        async with connection.lease() as first:
            async with connection.lease() as second:
                assert second is first
            assert (await first.system_stats()).version == "0.33.0"
            assert await memory_in_use(first) >= 0
        async with connection.lease() as later:
            assert later is not first


async def test_a_given_backend_is_used_and_left_open():
    backend = FakeBackend()
    connection = Connection(backend)
    async with connection.lease() as leased:
        assert leased is backend
    assert connection.url == "fake://memory"


def test_where_it_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_URL", "http://environment:1")
    assert Connection().url == "http://environment:1"
    assert Connection(settings=config.Settings(server="http://settings:2")).url == "http://settings:2"
    assert Connection(comfyui_config=ComfyUIConfig(tmp_path, "host", 3)).url == "http://host:3"
    assert Connection(url="http://given:4").url == "http://given:4"


async def test_memory_of_a_server_that_is_away_is_not_known():
    async with Connection(url="http://127.0.0.1:9").lease() as backend:
        assert await memory_in_use(backend) == 0.0


@pytest.fixture
def no_global_manager():
    manager_module._GLOBAL.clear()
    yield
    manager_module._GLOBAL.clear()


def test_the_manager_of_the_process_is_made_once_and_outlives_event_loops(tmp_path, monkeypatch, no_global_manager):
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COMFYOPS_HOME", str(tmp_path))
    monkeypatch.setenv("COMFYOPS_OUTPUT", str(tmp_path / "out"))
    wish = WorkflowRequest(
        "x", capabilities=["VIDEO_GENERATION"], parameters={"width": 64, "height": 64, "num_frames": 2}
    )

    async def several():
        return await asyncio.gather(*(manager_module.execute_workflow(wish) for _ in range(3)))

    assert [item.success for item in asyncio.run(several()) + asyncio.run(several())] == [True] * 6
    manager = asyncio.run(manager_module.get_global_manager())
    assert manager.get_performance_analytics()["total_executions"] == 6
