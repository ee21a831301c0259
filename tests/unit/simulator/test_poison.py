"""What breaks a real server breaks a faithful simulator in the same way, and does no harm to another one."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.poison import HARMFUL, POISON, Effect, Poison
from tests.unit.simulator.client import SAVE_ONE, Client, simulated

VERSIONS = ("0.33.0", "0.8.0")


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_faithful_simulator_breaks_as_the_real_server_does(version: str, name: str) -> None:
    poison = POISON[name]
    async with simulated(version=version, faithful_poison=True) as client:
        assert await effect(client, poison) == poison.effect(version)


@pytest.mark.parametrize("version", VERSIONS)
async def test_no_poison_harms_a_simulator_by_default(version: str) -> None:
    async with simulated(version=version) as client:
        for name, poison in POISON.items():
            if poison.effect(version) in HARMFUL:
                assert await effect(client, poison) not in (Effect.WORKER, Effect.PROCESS), name


async def effect(client: Client, poison: Poison) -> Effect:
    """What a request does to a server that has run one good job before."""
    await client.run(poison.first or SAVE_ONE)
    try:
        status, answer = await send(client, poison.body)
        if status != 200:
            await client.run(SAVE_ONE)
            return {400: Effect.REFUSED, 500: Effect.TROUBLE}[status]
        await client.until(lambda: ended(client, answer["prompt_id"]))
        return await aftermath(client, answer["prompt_id"])
    except aiohttp.ClientError:
        await client.simulator.wait_closed()
        return Effect.PROCESS


async def send(client: Client, body: Any) -> tuple[int, Any]:
    """The answer to a POST /prompt, whatever is in it."""
    async with client.http.post(f"{client.simulator.url}/prompt", data=json.dumps(body).encode()) as response:
        text = await response.read()
        return response.status, json.loads(text) if response.status == 200 else text


async def ended(client: Client, job: str) -> bool:
    """Whether a job is over, or there is nothing more to wait for."""
    machine = client.simulator.machine
    assert machine is not None
    return bool(await client.get(f"/history/{job}")) or any("worker died" in text for _, text in machine.log)


async def aftermath(client: Client, job: str) -> Effect:
    """How a server is that took a job."""
    found = await client.get(f"/history/{job}")
    if not found:
        later = await client.submit(SAVE_ONE)
        assert [item[1] for item in (await client.get("/queue"))["queue_pending"]] == [later]
        assert await client.status("GET", "/api/jobs") == await client.status("GET", "/system_stats") == 200
        return Effect.WORKER
    await client.run(SAVE_ONE)
    if await client.status("GET", "/api/jobs") == 500:
        assert await client.status("POST", "/history", json={"clear": True}) == 200
        assert await client.status("GET", "/api/jobs") == 200
        return Effect.LISTS
    return Effect.SUCCESS if found[job]["status"]["completed"] else Effect.ERROR
