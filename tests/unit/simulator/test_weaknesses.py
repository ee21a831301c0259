"""Prompts that break a real server: harmless by default, faithful on request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.simulator.client import SAVE_ONE, simulated

NO_INPUTS = {**SAVE_ONE, "9": {"class_type": "ImageInvert"}}


def chain(count: int) -> dict[str, Any]:
    """A chain of so many nodes."""
    nodes: dict[str, Any] = {"1": SAVE_ONE["1"]}
    for number in range(2, count):
        nodes[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    last = {"filename_prefix": "chain", "images": [str(count - 1), 0]}
    return {**nodes, str(count): {"class_type": "SaveImage", "inputs": last}}


@pytest.mark.parametrize(
    "body",
    [{"prompt": NO_INPUTS}, {"prompt": SAVE_ONE, "client_id": {}}, {"prompt": SAVE_ONE, "client_id": ["c"]}],
    ids=["no inputs", "client id object", "client id list"],
)
async def test_poison_is_harmless_by_default(body: Any) -> None:
    async with simulated() as client:
        answer = await client.post("/prompt", body)
        assert answer["node_errors"] == {}
        await client.until(lambda: client.get(f"/history/{answer['prompt_id']}"))
        await client.run(SAVE_ONE)


async def test_twins_are_harmless_by_default() -> None:
    twin = {"prompt": SAVE_ONE, "prompt_id": "00000000-0000-4000-8000-000000000001", "number": -1}
    async with simulated(seconds_per_node=0.1) as client:
        await client.submit(SAVE_ONE)
        await client.until(client.running)
        statuses = [await client.status("POST", "/prompt", json=twin) for _ in range(3)]
        assert statuses == [200, 200, 200]
        await client.run(SAVE_ONE)


async def test_node_without_inputs_kills_the_faithful_worker() -> None:
    async with simulated(faithful_poison=True) as client:
        await client.submit(NO_INPUTS)
        await client.until(client.running)
        later = await client.submit(SAVE_ONE)
        queue = await client.get("/queue")
        assert len(queue["queue_running"]) == 1
        assert [item[1] for item in queue["queue_pending"]] == [later]


async def test_client_id_that_is_an_object_ends_the_faithful_server() -> None:
    async with simulated(faithful_poison=True) as client:
        await client.submit(SAVE_ONE, client_id={})
        await asyncio.wait_for(client.simulator.wait_closed(), 10)


async def test_chain_near_the_recursion_limit_kills_only_the_faithful_worker() -> None:
    async with simulated(faithful_poison=True) as client:
        await client.submit(chain(982))
        await client.until(client.running)
        await client.submit(SAVE_ONE)
        assert len((await client.get("/queue"))["queue_pending"]) == 1


async def test_socket_that_stops_reading_blocks_others_only_on_the_faithful_server() -> None:
    assert await _messages_despite_a_stuck_socket(faithful=False) > 0
    assert await _messages_despite_a_stuck_socket(faithful=True) == 0


async def _messages_despite_a_stuck_socket(*, faithful: bool) -> int:
    """How many messages a good socket gets while another one is blocked."""
    async with simulated(faithful_poison=faithful) as client:
        stuck, good = await client.socket("stuck"), await client.socket("good")
        await good.receive(5)
        machine = client.simulator.machine
        assert machine is not None
        stuck._response.connection.transport.pause_reading()
        filler = {"filler": "x" * 1_000_000}
        for _ in range(60):
            machine.sockets.publish_json("filler", filler, "stuck")
        machine.sockets.publish_json("hello", {}, "good")
        try:
            await good.receive(1)
        except TimeoutError:
            return 0
        finally:
            stuck._response.connection.transport.resume_reading()
        return 1
