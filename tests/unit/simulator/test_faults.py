"""Each fault switch makes the simulator fail in its way, and in no other."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from PIL import Image

from comfyops.simulator import Faults
from tests.unit.simulator.client import SAVE_ONE, messages_until_end, sampling, simulated


async def test_failing_class_ends_the_run_with_an_error_and_keeps_earlier_outputs() -> None:
    prompt = {**SAVE_ONE, "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}}
    prompt["4"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "u", "images": ["3", 0]}}
    async with simulated(faults=Faults(fail_class="ImageInvert")) as client:
        entry = await client.run(prompt)
    assert entry["status"]["status_str"] == "error"
    assert list(entry["outputs"]) == ["2"]
    name, error = entry["status"]["messages"][-1]
    assert (name, error["node_id"], error["node_type"]) == ("execution_error", "3", "ImageInvert")
    assert error["exception_message"] == "simulated failure of ImageInvert\n"


async def test_out_of_memory_has_the_words_and_type_of_the_real_one() -> None:
    async with simulated(faults=Faults(oom_class="KSampler")) as client:
        entry = await client.run(sampling(2))
    error = entry["status"]["messages"][-1][1]
    assert error["exception_type"] == "torch.OutOfMemoryError"
    assert "ran out of memory on your GPU" in error["exception_message"]


async def test_slow_factor_stretches_simulated_time() -> None:
    async with simulated(seconds_per_step=0.01, faults=Faults(slow_factor=10)) as client:
        messages = (await client.run(sampling(3)))["status"]["messages"]
    assert messages[-1][1]["timestamp"] - messages[0][1]["timestamp"] >= 290


async def test_sockets_drop_after_so_many_messages_while_the_run_goes_on() -> None:
    async with simulated(faults=Faults(drop_sockets_after=4)) as client:
        socket = await client.socket("c")
        prompt_id = await client.submit(SAVE_ONE, client_id="c")
        received = [message async for message in socket]
        entry = (await client.until(lambda: client.get(f"/history/{prompt_id}")))[prompt_id]
    assert len(received) == 4
    assert entry["status"]["completed"] is True


async def test_server_dies_in_the_middle_of_its_first_run() -> None:
    async with simulated(faults=Faults(die_mid_run=True)) as client:
        socket = await client.socket("c")
        await client.submit(sampling(5), client_id="c")
        await asyncio.wait_for(client.simulator.wait_closed(), 10)
        async for _ in socket:
            pass
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        with pytest.raises(aiohttp.ClientError):
            await client.get("/queue")


async def test_restarted_server_has_forgotten_queue_history_and_numbers() -> None:
    async with simulated(seconds_per_step=0.02, faults=Faults(forget_after_runs=1)) as client:
        socket = await client.socket("c")
        first = await client.submit(sampling(5), client_id="c")
        second = await client.submit(SAVE_ONE)
        async for _ in socket:
            pass
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}
        assert await client.get(f"/history/{first}") == await client.get(f"/history/{second}") == {}
        answer = await client.post("/prompt", {"prompt": SAVE_ONE})
        assert answer["number"] == 0
        await client.until(lambda: client.get(f"/history/{answer['prompt_id']}"))


async def test_dead_worker_accepts_everything_and_runs_nothing() -> None:
    async with simulated(faults=Faults(dead_worker=True)) as client:
        first = await client.submit(SAVE_ONE)
        await client.until(client.running)
        await client.submit(SAVE_ONE)
        assert await client.status("POST", "/interrupt", json={}) == 200
        assert await client.status("GET", "/system_stats") == 200
        queue = await client.get("/queue")
        assert [item[1] for item in queue["queue_running"]] == [first]
        assert len(queue["queue_pending"]) == 1
        assert await client.post("/queue", {"clear": True}) is None
        assert await client.running()


async def test_corrupt_output_is_saved_but_cannot_be_read() -> None:
    async with simulated(faults=Faults(corrupt_output=True)) as client:
        entry = await client.run(SAVE_ONE)
        name = entry["outputs"]["2"]["images"][0]["filename"]
        path = client.simulator.folders.output / name
        with pytest.raises(OSError), Image.open(path) as picture:
            picture.load()
        assert await client.status("GET", f"/view?filename={name}") == 200


async def test_without_faults_the_same_prompts_succeed() -> None:
    async with simulated() as client:
        socket = await client.socket("c")
        await client.submit(sampling(2), client_id="c")
        assert "execution_success" in [message["type"] for message in await messages_until_end(socket)]
