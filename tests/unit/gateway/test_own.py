"""Two people on one server: neither sees, reads or stops what is the other's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.simulator import SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import House, finished, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, simulated=SimulatorSettings(port=0, previews=True)) as made:
        yield made


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, simulated=SimulatorSettings(port=0, seconds_per_node=60)) as made:
        yield made


async def submit(home: House, token: str, graph: Any = None, **fields: Any) -> str:
    body = {"prompt": api_format.dump(graph or graphs.picture()), **fields}
    status, answer = await home.ask("POST", "/prompt", token, json=body)
    assert status == 200, answer
    return str(answer["prompt_id"])


async def connect(home: House, token: str, client: str) -> aiohttp.ClientWebSocketResponse:
    headers = {"Authorization": f"Bearer {token}"}
    socket = await home.session.ws_connect(f"{home.url}/ws?clientId={client}", headers=headers)
    first = json.loads((await socket.receive()).data)
    assert first["data"]["sid"] == client
    return socket


async def until_the_end(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """Messages up to the end of a run."""
    seen = []
    async with asyncio.timeout(15):
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            data = json.loads(message.data)
            seen.append(data)
            if data["type"] == "executing" and data["data"]["node"] is None:
                break
    return seen


async def test_messages_go_to_the_owner_even_where_both_use_one_name(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    hers, his = await connect(home, ann, "page"), await connect(home, bob, "page")
    job = await submit(home, ann, client_id="page")
    seen = await until_the_end(hers)
    assert {"execution_start", "progress_state", "executed"} <= {item["type"] for item in seen}
    own = await submit(home, bob, client_id="page")
    for message in await until_the_end(his):
        assert job not in json.dumps(message) and message["data"].get("prompt_id", own) == own


async def test_jobs_without_a_client_are_not_told_to_everybody(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    his = await connect(home, bob, "b")
    job = await submit(home, ann)
    await finished(home, ann, job)
    own = await submit(home, bob, client_id="b")
    assert all(job not in json.dumps(message) for message in await until_the_end(his))
    assert own != job


async def test_a_newer_socket_of_the_same_name_is_not_silenced_by_the_older_one(home: House) -> None:
    ann = home.token("ann")
    older = await connect(home, ann, "page")
    newer = await connect(home, ann, "page")
    await older.close()
    await submit(home, ann, client_id="page")
    assert (await until_the_end(newer))[-1]["type"] == "executing"


async def test_history_jobs_and_pictures_are_the_owners(home: House) -> None:
    ann, bob, boss = home.token("ann"), home.token("bob"), home.token("boss", "operator")
    job = await submit(home, ann)
    entry = await finished(home, ann, job)
    picture = entry["outputs"]["2"]["images"][0]
    view = f"/view?filename={picture['filename']}&type=output"
    for path, hidden in (("/history", {}), (f"/history/{job}", {}), (f"/api/history/{job}", {})):
        assert job in (await home.ask("GET", path, ann))[1]
        assert job in (await home.ask("GET", path, boss))[1]
        assert await home.ask("GET", path, bob) == (200, hidden)
    for path in (view, f"/api{view}", f"/api/jobs/{job}", f"{view}&subfolder=", f"{view}&preview=webp"):
        statuses = [(await home.ask("GET", path, who))[0] for who in (ann, bob, boss)]
        assert statuses == [200, 404, 200], path
    assert [item["id"] for item in (await home.ask("GET", "/api/jobs", ann))[1]["jobs"]] == [job]
    assert (await home.ask("GET", "/api/jobs", bob))[1]["jobs"] == []
    for odd in (
        f"{view}&filename=x",
        f"/view?filename=x/{picture['filename']}",
        f"/view?filename={picture['filename']}%20[output]",
    ):
        assert (await home.ask("GET", odd, bob))[0] in (400, 404)


async def test_the_queue_shows_and_loses_only_ones_own_jobs(slow: House) -> None:
    ann, bob = slow.token("ann"), slow.token("bob")
    running, waiting = await submit(slow, ann), await submit(slow, ann)
    his = await submit(slow, bob)
    assert [item[1] for item in (await slow.ask("GET", "/queue", bob))[1]["queue_pending"]] == [his]
    assert (await slow.ask("GET", "/queue", bob))[1]["queue_running"] == []
    for path, body in (
        ("/queue", {"delete": [waiting]}),
        ("/interrupt", {"prompt_id": running}),
        ("/history", {"delete": [running]}),
        (f"/api/jobs/{waiting}/cancel", {}),
        ("/api/jobs/cancel", {"job_ids": [waiting]}),
    ):
        assert (await slow.ask("POST", path, bob, json=body))[0] == 404, path
    assert (await slow.ask("POST", "/queue", bob, json={"clear": True}))[0] == 200
    assert (await slow.ask("POST", "/interrupt", bob))[0] == 200
    queue = (await slow.ask("GET", "/queue", slow.token("boss", "operator")))[1]
    assert [item[1] for item in queue["queue_running"]] == [running]
    assert [item[1] for item in queue["queue_pending"]] == [waiting]
    assert (await slow.ask("POST", "/free", bob, json={"unload_models": True}))[0] == 403
    assert (await slow.ask("POST", "/queue", ann, json={"delete": [waiting]}))[0] == 200
    assert (await slow.ask("POST", "/interrupt", ann, json={}))[0] == 200


async def test_uploads_are_the_owners_and_nobody_overwrites_them(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    name = await upload(home, ann, b"hers")
    assert name == "picture.png"
    assert (await home.ask("GET", "/view?type=input&filename=picture.png", bob))[0] == 404
    assert await upload(home, bob, b"his", overwrite="true") == "picture (1).png"
    assert await upload(home, ann, b"new", overwrite="true") == "picture.png"
    assert await home.ask("GET", "/view?type=input&filename=picture.png", ann) == (200, "new")
    for text in ("picture.png", "picture.png [input]"):
        body = {"prompt": api_format.dump(graphs.load(text))}
        status, answer = await home.ask("POST", "/prompt", bob, json=body)
        assert (status, answer["error"]["code"]) == (403, "not_your_file")


async def test_outputs_of_others_cannot_be_loaded_or_masked(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    entry = await finished(home, ann, await submit(home, ann))
    name = entry["outputs"]["2"]["images"][0]["filename"]
    body = {"prompt": api_format.dump(graphs.load(f"{name} [output]"))}
    assert (await home.ask("POST", "/prompt", bob, json=body))[0] == 403
    form = aiohttp.FormData()
    form.add_field("image", b"x", filename="mask.png")
    form.add_field("original_ref", json.dumps({"filename": name, "type": "output", "subfolder": ""}))
    assert (await home.ask("POST", "/upload/mask", bob, data=form))[0] == 404


@pytest.mark.parametrize("subfolder", ["..", "a/../..", "x/../../y"])
async def test_uploads_stay_in_their_folder(home: House, subfolder: str) -> None:
    form = aiohttp.FormData()
    form.add_field("image", b"x", filename="x.png")
    form.add_field("subfolder", subfolder)
    assert (await home.ask("POST", "/upload/image", home.token("a"), data=form))[0] == 400


async def listed(home: House, kind: str, token: str) -> set[str]:
    status, names = await home.ask("GET", f"/internal/files/{kind}", token)
    assert status == 200
    return set(names)


async def test_the_pages_lists_of_files_hold_ones_own(home: House) -> None:
    ann, bob = home.token("ann"), home.token("bob")
    for_all = await listed(home, "input", bob)
    assert await upload(home, ann, b"hers") == "picture.png"
    entry = await finished(home, ann, await submit(home, ann))
    made = entry["outputs"]["2"]["images"][0]["filename"]
    assert await listed(home, "input", ann) == for_all | {"picture.png [input]"}
    assert await listed(home, "input", bob) == for_all
    assert await listed(home, "output", ann) == {f"{made} [output]"}
    assert await listed(home, "output", bob) == set()
    assert f"{made} [output]" in await listed(home, "output", home.token("boss", "operator"))
    assert (await home.ask("GET", "/internal/files/bogus", ann))[0] == 400
    assert (await home.ask("GET", "/internal/files/input/x", ann))[0] == 403


async def test_lists_of_files_of_an_older_server_name_no_folder(tmp_path: Path) -> None:
    async with house(tmp_path, simulated=SimulatorSettings(port=0, version="0.8.0")) as home:
        ann, bob = home.token("ann"), home.token("bob")
        entry = await finished(home, ann, await submit(home, ann))
        made = entry["outputs"]["2"]["images"][0]["filename"]
        assert await listed(home, "output", ann) == {made}
        assert await listed(home, "output", bob) == set()


async def test_numbers_of_jobs_are_integers_as_clients_know_them(slow: House) -> None:
    ann = slow.token("ann")
    body = {"prompt": api_format.dump(graphs.picture())}
    async with slow.session.post(f"{slow.url}/prompt", json=body, headers={"Authorization": f"Bearer {ann}"}) as answer:
        assert type((await answer.json())["number"]) is int
    queue = (await slow.ask("GET", "/queue", ann))[1]
    numbers = [item[0] for items in queue.values() for item in items]
    assert [type(number) for number in numbers] == [int]


async def test_the_page_knows_the_model_folders_and_operators_where_they_lie(tmp_path: Path) -> None:
    async with house(tmp_path, simulated=SimulatorSettings(port=0)) as home:
        status, names = await home.ask("GET", "/internal/folder_paths", home.token("ann"))
        places = (await home.ask("GET", "/internal/folder_paths", home.token("boss", "operator")))[1]
        assert (status, names) == (200, {name: [name] for name in places})
        assert all(Path(place).is_absolute() for folder in places.values() for place in folder)
        assert "checkpoints" in names


async def test_a_broken_form_is_refused(home: House) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\nnothing", b"--x\r\nContent-Disposition: form-data\r\n\r\ny\r\n--x--\r\n"):
        status, _ = await home.ask("POST", "/upload/image", home.token(f"t{len(body)}"), data=body, headers=headers)
        assert status == 400


async def upload(home: House, token: str, data: bytes, **fields: str) -> str:
    form = aiohttp.FormData()
    for key, value in fields.items():
        form.add_field(key, value)
    form.add_field("image", data, filename="picture.png", content_type="image/png")
    status, answer = await home.ask("POST", "/upload/image", token, data=form)
    assert status == 200, answer
    return str(answer["name"])
