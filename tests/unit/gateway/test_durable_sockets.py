"""Websockets over the durable queue: ComfyUI's messages in its order, to the owner's client, whatever happens."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.gateway.settings import Limits
from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator import SimulatorSettings
from comfyops.simulator.settings import Faults
from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.graph import GraphBuilder
from tests.unit.api.rig import picture
from tests.unit.gateway.house import DurableHouse, durable_house, finished
from tests.unit.gateway.test_durable_jobs import running, submit

Frame = dict[str, Any] | bytes


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    async with durable_house(tmp_path, simulated=SimulatorSettings(port=0, previews=True)) as made:
        yield made


async def connect(
    home: DurableHouse, token: str, client: str = "page", flags: dict[str, Any] | None = None
) -> aiohttp.ClientWebSocketResponse:
    headers = {"Authorization": f"Bearer {token}"}
    socket = await home.session.ws_connect(f"{home.url}/ws?clientId={client}", headers=headers)
    first = json.loads((await socket.receive()).data)
    assert first["type"] == "status" and first["data"]["sid"] == (client or first["data"]["sid"])
    if flags is not None:
        await socket.send_json({"type": "feature_flags", "data": flags})
        assert json.loads((await socket.receive()).data)["type"] == "feature_flags"
    return socket


async def frames(socket: aiohttp.ClientWebSocketResponse, last: Callable[[Frame], bool]) -> list[Frame]:
    """What comes, up to a certain one."""
    seen: list[Frame] = []
    async with asyncio.timeout(20):
        async for message in socket:
            seen.append(json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else message.data)
            if last(seen[-1]):
                return seen
    raise AssertionError(f"the socket ended after {seen}")


def is_end(frame: Frame, job: str = "") -> bool:
    if isinstance(frame, bytes) or frame["type"] != "executing" or frame["data"]["node"] is not None:
        return False
    return job in ("", frame["data"]["prompt_id"])


def is_a(kind: str) -> Callable[[Frame], bool]:
    return lambda frame: isinstance(frame, dict) and frame["type"] == kind


def kinds(seen: list[Frame]) -> list[str]:
    """The kinds of text messages, without those of the queue's length."""
    return [frame["type"] for frame in seen if isinstance(frame, dict) and frame["type"] != "status"]


async def test_a_run_is_told_in_the_order_of_a_real_server(home: DurableHouse) -> None:
    ann = home.token("ann")
    socket = await connect(home, ann)
    job = await submit(home, ann, api_format.parse(picture()), client_id="page")
    seen = await frames(socket, is_end)
    told = kinds(seen)
    assert told[:2] == ["execution_start", "execution_cached"]
    assert told[-3:] == ["executed", "execution_success", "executing"]
    first = told.index("executing")
    assert told[first - 1] == "progress_state"
    for frame in seen:
        if isinstance(frame, dict) and frame["type"] != "status":
            assert frame["data"]["prompt_id"] == job
    assert list((await home.ask("GET", f"/history/{job}", ann))[1]) == [job]


async def test_files_are_there_as_soon_as_they_are_told(home: DurableHouse) -> None:
    ann = home.token("ann")
    socket = await connect(home, ann)
    for _ in range(3):
        job = await submit(home, ann, client_id="page")
        *_, executed = await frames(socket, is_a("executed"))
        assert isinstance(executed, dict)
        (place,) = executed["data"]["output"]["images"]
        assert place["subfolder"] == f"jobs/{job}"
        assert (await home.ask("GET", "/view", ann, params=place))[0] == 200
        await frames(socket, is_end)


async def test_a_cached_run_names_the_nodes_and_shows_its_outputs(home: DurableHouse) -> None:
    ann, graph = home.token("ann"), graphs.picture(5)
    await finished(home, ann, await submit(home, ann, graph))
    socket = await connect(home, ann)
    await submit(home, ann, graph, client_id="page")
    seen = await frames(socket, is_end)
    (cached,) = filter(is_a("execution_cached"), seen)
    assert isinstance(cached, dict) and sorted(cached["data"]["nodes"]) == ["1", "2"]
    assert kinds(seen) == ["execution_start", "execution_cached", "executed", "execution_success", "executing"]


async def test_previews_come_with_and_without_what_they_belong_to(home: DurableHouse) -> None:
    ann = home.token("ann")
    plain, modern = await connect(home, ann), await connect(home, ann, flags={"supports_preview_metadata": True})
    status, answer = await home.ask("POST", "/prompt", ann, json={"prompt": picture(3), "client_id": "page"})
    assert status == 200
    old = [frame for frame in await frames(plain, is_end) if isinstance(frame, bytes)]
    new = [frame for frame in await frames(modern, is_end) if isinstance(frame, bytes)]
    assert old and new
    kind, form = struct.unpack(">II", old[0][:8])
    assert kind == 1 and old[0][8:].startswith({1: b"\xff\xd8", 2: b"\x89PNG"}[form])
    kind, size = struct.unpack(">II", new[0][:8])
    told = json.loads(new[0][8 : 8 + size])
    assert kind == 4 and told["prompt_id"] == answer["prompt_id"] and told["node_id"] == "4"
    assert {"display_node_id", "parent_node_id", "real_node_id", "image_type"} <= set(told)


async def test_the_servers_features_are_told_with_the_gateways_own(home: DurableHouse) -> None:
    socket = await connect(home, home.token("ann"))
    await socket.send_str("no json")
    await socket.send_bytes(b"binary")
    await socket.send_json({"type": "feature_flags", "data": {}})
    answer = json.loads((await socket.receive(timeout=20)).data)
    assert answer["data"]["supports_preview_metadata"] is True and "node_replacements" in answer["data"]


async def test_pictures_that_are_saved_to_the_socket_come_there_whole(home: DurableHouse) -> None:
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, height=16, batch_size=2, color=0x102030)
    build.add("SaveImageWebsocket", images=image[0])
    ann = home.token("ann")
    socket = await connect(home, ann)
    job = await submit(home, ann, build.build(), client_id="page")
    pictures, node = [], ""
    for frame in await frames(socket, is_end):
        if isinstance(frame, bytes) and node == "2":
            pictures.append(frame[8:])
        elif isinstance(frame, dict) and frame["type"] == "executing":
            node = frame["data"]["node"]
    assert len(pictures) == 2 and all(data.startswith(b"\x89PNG") for data in pictures)
    assert (await finished(home, ann, job))["outputs"] == {}


async def test_an_error_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    faults = Faults(fail_class="SaveImage")
    async with durable_house(tmp_path, simulated=SimulatorSettings(port=0, faults=faults)) as home:
        ann = home.token("ann")
        socket = await connect(home, ann)
        await submit(home, ann, client_id="page")
        *_, error, _last = [frame for frame in await frames(socket, is_end) if not is_a("status")(frame)]
        assert isinstance(error, dict) and error["type"] == "execution_error"
        assert (error["data"]["node_id"], error["data"]["node_type"]) == ("2", "SaveImage")


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    async with durable_house(tmp_path, simulated=SimulatorSettings(port=0, seconds_per_node=60)) as made:
        yield made


async def test_an_interrupt_ends_the_run_and_a_waiting_job_too(slow: DurableHouse) -> None:
    ann = slow.token("ann")
    socket = await connect(slow, ann)
    job, waiting = await submit(slow, ann, client_id="page"), await submit(slow, ann, client_id="page")
    await frames(socket, is_a("executing"))
    assert (await slow.ask("POST", "/queue", ann, json={"delete": [waiting]}))[0] == 200
    seen = await frames(socket, lambda frame: is_end(frame, waiting))
    assert kinds(seen)[-2:] == ["execution_interrupted", "executing"]
    assert (await slow.ask("POST", "/interrupt", ann, json={"prompt_id": job}))[0] == 200
    seen = await frames(socket, lambda frame: is_end(frame, job))
    assert kinds(seen)[-2:] == ["execution_interrupted", "executing"]


async def test_who_comes_back_in_the_middle_is_told_where_the_run_is(slow: DurableHouse) -> None:
    ann = slow.token("ann")
    first = await connect(slow, ann)
    job = await submit(slow, ann, client_id="page")
    *_, node = await frames(first, is_a("executing"))
    await first.close()
    again = await connect(slow, ann)
    *_, told = await frames(again, is_a("executing"))
    assert isinstance(told, dict) and isinstance(node, dict) and told["data"] == node["data"]
    await slow.ask("POST", "/interrupt", ann, json={"prompt_id": job})
    assert kinds(await frames(again, is_end))[-2:] == ["execution_interrupted", "executing"]


async def test_a_job_that_waits_when_its_client_comes_is_told_of(slow: DurableHouse) -> None:
    ann = slow.token("ann")
    job, waiting = await submit(slow, ann, client_id="page"), await submit(slow, ann, client_id="page")
    await running(slow, job)
    socket = await connect(slow, ann)
    await slow.ask("POST", "/interrupt", ann, json={"prompt_id": job})
    seen = await frames(
        socket,
        lambda frame: (
            is_a("executing")(frame)
            and isinstance(frame, dict)
            and frame["data"]["node"] == "1"
            and frame["data"]["prompt_id"] == waiting
        ),
    )
    assert is_a("executing")(seen[-1])


async def test_a_job_that_another_process_took_and_runs_is_told_of(tmp_path: Path) -> None:
    async with durable_house(tmp_path, dispatch=False) as home:
        ann = home.token("ann")
        owner = (await home.queue.get(await submit(home, ann, client_id="elsewhere"))).owner
        socket = await connect(home, ann)
        other = await asyncio.to_thread(Queue, home.queue.database, home.queue.folder)
        async with other, Dispatcher(other, "other"):
            job = (await other.submit(Submission(picture(), client_id="page"), owner)).job.id
            seen = await frames(socket, lambda frame: is_end(frame, job))
    assert "executed" in kinds(seen)
    assert {frame["data"]["prompt_id"] for frame in seen if is_a("executing")(frame)} == {job}


async def test_two_sockets_of_one_client_both_hear(home: DurableHouse) -> None:
    ann = home.token("ann")
    older, newer = await connect(home, ann), await connect(home, ann)
    await submit(home, ann, client_id="page")
    assert kinds(await frames(older, is_end)) == kinds(await frames(newer, is_end))
    await older.close()
    await submit(home, ann, client_id="page")
    assert is_end((await frames(newer, is_end))[-1])


async def test_nobody_hears_of_jobs_that_are_not_his_clients(home: DurableHouse) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    hers, other, his = await connect(home, ann), await connect(home, ann, "other"), await connect(home, bob)
    job, silent = await submit(home, ann, client_id="page"), await submit(home, ann)
    await frames(hers, is_end)
    await finished(home, ann, silent)
    own = await submit(home, bob, client_id="page")
    heard = json.dumps(list(map(str, await frames(his, is_end))))
    assert own in heard and not any(word in heard for word in (job, silent))
    last = await submit(home, ann, client_id="other")
    seen = json.dumps(list(map(str, await frames(other, is_end))))
    assert last in seen and not any(word in seen for word in (job, silent, own))


async def test_every_socket_of_an_owner_is_told_how_much_waits(slow: DurableHouse) -> None:
    ann, bob = slow.token("ann"), slow.token("bob")
    page, his = await connect(slow, ann, "one"), await connect(slow, bob, "two")

    def tells(count: int) -> Callable[[Frame], bool]:
        return lambda frame: (
            is_a("status")(frame)
            and isinstance(frame, dict)
            and frame["data"]["status"]["exec_info"]["queue_remaining"] == count
        )

    jobs = [await submit(slow, ann) for _ in range(2)]
    await frames(page, tells(2))
    await slow.ask("POST", "/queue", ann, json={"delete": jobs[1:]})
    await frames(page, tells(1))
    await submit(slow, bob)
    assert len(await frames(his, tells(1))) == 1


async def test_who_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    limits = Limits(socket_bytes=2000)
    simulated = SimulatorSettings(port=0, previews=True)
    async with durable_house(tmp_path, simulated=simulated, limits=limits) as home:
        ann = home.token("ann")
        socket = await connect(home, ann)
        await home.ask("POST", "/prompt", ann, json={"prompt": picture(9), "client_id": "page"})
        async with asyncio.timeout(20):
            while (await socket.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                pass
        assert socket.close_code == 1013


async def test_who_is_revoked_is_cut_off(home: DurableHouse) -> None:
    ann = home.token("ann")
    socket = await connect(home, ann)
    home.store.tokens.revoke("ann", home.store.clock())
    async with asyncio.timeout(20):
        while (await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    assert socket.close_code == 1008


async def test_a_socket_without_a_name_gets_one_to_submit_with(home: DurableHouse) -> None:
    ann = home.token("ann")
    headers = {"Authorization": f"Bearer {ann}"}
    socket = await home.session.ws_connect(f"{home.url}/ws", headers=headers)
    sid = json.loads((await socket.receive()).data)["data"]["sid"]
    await submit(home, ann, client_id=sid)
    assert is_end((await frames(socket, is_end))[-1])
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await home.session.ws_connect(f"{home.url}/ws?clientId={'x' * 1000}", headers=headers)
