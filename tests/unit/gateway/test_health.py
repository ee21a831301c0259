"""Servers that die or hang, clients that do not read: noticed, told, and nobody else's trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from comfyops.gateway.settings import Limits
from comfyops.gateway.sockets import Outbox
from comfyops.simulator import Faults, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import House, finished, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def test_health_is_public_and_tells_nothing_but_health(home: House) -> None:
    assert await home.ask("GET", "/health") == (200, {"status": "ok", "backends": {"ok": 1}})


async def test_a_dead_worker_is_noticed(tmp_path: Path) -> None:
    simulated = SimulatorSettings(port=0, faults=Faults(dead_worker=True))
    async with house(tmp_path, simulated=simulated, limits=Limits(stall_seconds=0.3)) as home:
        assert (await home.ask("GET", "/health"))[0] == 200
        body = {"prompt": api_format.dump(graphs.picture())}
        assert (await home.ask("POST", "/prompt", home.token("a"), json=body))[0] == 200
        async with asyncio.timeout(15):
            while (await home.ask("GET", "/health"))[0] == 200:  # noqa: ASYNC110 - another program is waited for
                await asyncio.sleep(0.05)
        assert await home.ask("GET", "/health") == (503, {"status": "down", "backends": {"stalled": 1}})


async def test_a_server_that_does_not_answer_is_a_502_without_a_word_about_it(tmp_path: Path) -> None:
    async with house(tmp_path, backend="http://127.0.0.1:9") as home:
        token = home.token("a")
        assert (await home.ask("GET", "/health"))[0] == 503
        for method, path in (("GET", "/queue"), ("GET", "/object_info"), ("POST", "/interrupt")):
            status, answer = await home.ask(method, path, token)
            assert status == 502 and "127.0.0.1" not in str(answer)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await home.session.ws_connect(home.url + "/ws", headers={"Authorization": f"Bearer {token}"})
        assert refused.value.status == 502


async def test_a_client_that_reads_nothing_is_cut_and_others_get_their_messages(tmp_path: Path) -> None:
    limits = Limits(socket_bytes=200_000, socket_seconds=1.0)
    async with house(tmp_path, limits=limits) as home:
        lazy, token = home.token("lazy"), home.token("a")
        host, port = home.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        lines = (
            *("GET /ws?clientId=lazy HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {lazy}"),
            *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""),
        )
        writer.write("\r\n".join(lines).encode())
        assert b"101" in await reader.readline()
        sent = []
        async with asyncio.timeout(90):
            while len(home.gateway.sockets):  # it reads no more, until the gateway has had enough
                if not sent or await ended(home, lazy, sent[-1]):  # one at a time: the others wait for its jobs too
                    body = {"prompt": many(150), "client_id": "lazy"}
                    status, answer = await home.ask("POST", "/prompt", lazy, json=body)
                    assert status == 200
                    sent.append(answer["prompt_id"])
                await asyncio.sleep(0.05)
        writer.close()
        headers = {"Authorization": f"Bearer {token}"}
        async with home.session.ws_connect(home.url + "/ws?clientId=a", headers=headers) as socket:
            body = {"prompt": api_format.dump(graphs.picture()), "client_id": "a"}
            _, answer = await home.ask("POST", "/prompt", token, json=body)
            await finished(home, token, answer["prompt_id"])
            async with asyncio.timeout(60):  # `status` comes for the jobs of others too
                while json.loads((await socket.receive()).data)["type"] != "execution_start":
                    pass


async def ended(home: House, token: str, job: str) -> bool:
    """Whether a job is over."""
    _, queue = await home.ask("GET", "/queue", token)
    return job not in json.dumps(queue)


def test_what_waits_for_one_client_is_bounded() -> None:
    box = Outbox(Limits(socket_bytes=10))
    assert box.put("12345") and box.put(b"12345") and not box.put("1")


def many(pairs: int) -> dict[str, object]:
    """A workflow that tells a lot of its progress."""
    prompt: dict[str, object] = {}
    for number in range(pairs):
        graph = api_format.dump(graphs.picture(prefix=f"x{number}"))
        prompt[f"a{number}"] = graph["1"]
        saver = graph["2"]
        saver["inputs"]["images"] = [f"a{number}", 0]
        prompt[f"b{number}"] = saver
    return prompt
