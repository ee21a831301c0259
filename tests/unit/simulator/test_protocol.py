"""How the simulated server behaves over HTTP and websocket, beyond what the recordings show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyops.errors import UsageError
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.workflows.node_types import shipped
from tests.unit.simulator.client import SAVE_ONE, messages_until_end, sampling, simulated


async def test_used_port_is_a_clear_error() -> None:
    async with simulated() as client:
        other = Simulator(SimulatorSettings(port=client.simulator.port))
        with pytest.raises(UsageError, match="cannot listen"):
            await other.start()
        await other.stop()


async def test_a_stopped_server_can_be_started_again_and_remembers_its_files_only(tmp_path: Path) -> None:
    simulator = Simulator(SimulatorSettings(port=0, home=tmp_path))
    await simulator.start()
    (simulator.folders.temp / "preview.png").write_bytes(b"x")
    (simulator.folders.output / "result.png").write_bytes(b"x")
    await simulator.stop()
    await simulator.wait_closed()
    await simulator.start()
    assert [file.name for file in simulator.folders.output.iterdir()] == ["result.png"]
    assert list(simulator.folders.temp.iterdir()) == []
    await simulator.stop()


async def test_root_without_the_page_says_how_to_get_it() -> None:
    async with simulated() as client, client.http.get(client.simulator.url + "/") as response:
        assert response.status == 404
        assert "comfyops[page]" in await response.text()


async def test_model_lists_come_from_the_inventory_and_unknown_models_are_refused() -> None:
    models = {"checkpoints": ("mine.safetensors",)}
    async with simulated(models=models) as client:
        facts = await client.get("/object_info/CheckpointLoaderSimple")
        assert facts["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] == ["mine.safetensors"]
        assert await client.get("/models/checkpoints") == ["mine.safetensors"]
        answer = await client.post("/prompt", {"prompt": sampling(1)})
        assert answer["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"


async def test_uploads_appear_in_the_lists_of_loaders(tmp_path: Path) -> None:
    async with simulated(home=tmp_path) as client:
        before = await client.get("/object_info/LoadImage")
        (tmp_path / "input" / "new.png").write_bytes(b"x")
        after = await client.get("/object_info/LoadImage")
    assert before["LoadImage"]["input"]["required"]["image"][0] == []
    assert after["LoadImage"]["input"]["required"]["image"][0] == ["new.png"]


async def test_other_node_facts_can_be_loaded() -> None:
    types = shipped("0.8.0")
    async with simulated(types=types, version="0.8.0") as client:
        assert len(await client.get("/object_info")) == len(types)


async def test_changed_input_file_is_loaded_again(tmp_path: Path) -> None:
    from PIL import Image

    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "t", "images": ["1", 0]}},
    }
    async with simulated(home=tmp_path) as client:
        Image.new("RGB", (8, 8)).save(tmp_path / "input" / "a.png")
        await client.run(prompt)
        cached = await client.run(prompt)
        Image.new("RGB", (16, 8)).save(tmp_path / "input" / "a.png")
        changed = await client.run(prompt)
    assert cached["status"]["messages"][1][1]["nodes"] == ["1", "2"]
    assert changed["status"]["messages"][1][1]["nodes"] == []


async def test_only_results_of_the_previous_prompt_are_cached() -> None:
    other = {**SAVE_ONE, "1": {"class_type": "EmptyImage", "inputs": {**SAVE_ONE["1"]["inputs"], "color": 1}}}
    async with simulated() as client:
        cached = []
        for prompt in (SAVE_ONE, SAVE_ONE, other, SAVE_ONE):
            cached.append((await client.run(prompt))["status"]["messages"][1][1]["nodes"])
    assert cached == [[], ["1", "2"], [], []]


async def test_free_memory_forgets_results() -> None:
    async with simulated() as client:
        await client.run(SAVE_ONE)
        await client.post("/free", {"free_memory": True})
        again = await client.run(SAVE_ONE)
    assert again["status"]["messages"][1][1]["nodes"] == []


async def test_cached_run_without_client_id_hides_its_outputs_on_the_older_server_only() -> None:
    for version, shown in (("0.33.0", ["2"]), ("0.8.0", [])):
        async with simulated(version=version) as client:
            await client.run(SAVE_ONE)
            assert list((await client.run(SAVE_ONE))["outputs"]) == shown


async def test_history_keeps_so_many_runs_and_one_more() -> None:
    async with simulated(history_limit=2) as client:
        ids = [(await client.run(SAVE_ONE))["prompt"][1] for _ in range(5)]
        assert list(await client.get("/history")) == ids[-3:]
        assert list(await client.get("/history?max_items=2")) == ids[-2:]
        assert list(await client.get("/history?max_items=1&offset=1")) == ids[-2:-1]


async def test_reconnecting_socket_learns_the_running_node() -> None:
    async with simulated(seconds_per_step=0.02) as client:
        await client.submit(sampling(400), client_id="c")
        await client.until(client.running)
        first = await client.socket("c")
        assert json.loads((await first.receive(5)).data)["type"] == "status"
        while True:
            message = json.loads((await first.receive(5)).data)
            if message["type"] == "progress":
                break
        await first.close()
        second = await client.socket("c")
        status, executing = json.loads((await second.receive(5)).data), json.loads((await second.receive(5)).data)
        assert (status["type"], executing) == ("status", {"type": "executing", "data": {"node": "3"}})
        await client.post("/interrupt", {})
        assert "execution_interrupted" in [message["type"] for message in await messages_until_end(second)]


async def test_a_switch_runs_only_the_branch_it_takes() -> None:
    prompt = {
        "1": SAVE_ONE["1"],
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ComfySwitchNode", "inputs": {"switch": True, "on_true": ["1", 0], "on_false": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"filename_prefix": "t", "images": ["3", 0]}},
    }
    async with simulated() as client:
        socket = await client.socket("c")
        await client.submit(prompt, client_id="c")
        messages = await messages_until_end(socket)
    executed = [message["data"]["node"] for message in messages if message["type"] == "executing"]
    assert executed == ["3", "1", "3", "4", None]
    assert "execution_success" in [message["type"] for message in messages]


async def test_models_load_once_while_they_are_resident() -> None:
    async with simulated(model_load_seconds=0.3) as client:
        first = (await client.run(sampling(1)))["status"]["messages"]
        second = (await client.run(sampling(1, seed=2)))["status"]["messages"]
    assert first[-1][1]["timestamp"] - first[0][1]["timestamp"] >= 290
    assert second[-1][1]["timestamp"] - second[0][1]["timestamp"] < 290


async def test_ordinary_nodes_take_their_time() -> None:
    async with simulated(seconds_per_node=0.1) as client:
        messages = (await client.run(SAVE_ONE))["status"]["messages"]
    assert messages[-1][1]["timestamp"] - messages[0][1]["timestamp"] >= 190


async def test_sensitive_extra_data_is_never_shown() -> None:
    secrets = {"auth_token_comfy_org": "secret-1", "api_key_comfy_org": "secret-2", "kept": 1}
    async with simulated() as client:
        entry = await client.run(SAVE_ONE, extra_data=secrets)
        jobs = await client.get("/api/jobs")
    assert entry["prompt"][3]["kept"] == 1
    assert "secret" not in json.dumps([entry, jobs])


async def test_cancelling_a_running_and_a_pending_job() -> None:
    async with simulated(seconds_per_step=0.02) as client:
        running = await client.submit(sampling(400))
        await client.until(client.running)
        pending = await client.submit(SAVE_ONE)
        for job in (pending, running):
            assert await client.post(f"/api/jobs/{job}/cancel", {}) == {"cancelled": True}
        await client.until(lambda: client.get(f"/history/{running}"))
        assert (await client.get(f"/api/jobs/{running}"))["status"] == "cancelled"
        assert await client.status("GET", f"/api/jobs/{pending}") == 404


async def test_older_server_has_no_cancel_route_and_calls_interrupted_failed() -> None:
    async with simulated(seconds_per_step=0.02, version="0.8.0") as client:
        running = await client.submit(sampling(400))
        await client.until(client.running)
        assert await client.status("POST", f"/api/jobs/{running}/cancel") == 405
        await client.post("/interrupt", {})
        await client.until(lambda: client.get(f"/history/{running}"))
        assert (await client.get(f"/api/jobs/{running}"))["status"] == "failed"
        assert await client.status("GET", "/api/assets") == 404
