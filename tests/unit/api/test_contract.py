"""What the first published server of Comfy API v2 got wrong, each point held here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.api.rig import Rig, picture, rig
from tests.unit.api.test_assets import digest, upload

_OVER = ("succeeded", "failed", "canceled", "expired")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as found:
        yield found


async def test_cancelling_stops_the_run_at_the_server(tmp_path: Path) -> None:
    async with rig(tmp_path, seconds_per_node=60) as api:
        job = await api.submit()
        async with asyncio.timeout(20):
            while True:
                if (await api.ask("GET", f"/jobs/{job['id']}"))[1]["status"] == "running":
                    break
                await asyncio.sleep(0.02)
        assert (await api.ask("POST", f"/jobs/{job['id']}/cancel"))[0] in (200, 202)
        assert (await api.done(job["id"]))["status"] == "canceled"
        async with api.session.get(f"{api.simulator.url}/queue") as answer:
            assert (await answer.json())["queue_running"] == []


async def test_a_live_job_is_never_said_to_be_over_before_it_is(api: Rig) -> None:
    for _ in range(3):
        job = await api.submit(workflow=picture(time.time_ns() % 10**9, steps=3))
        seen: list[str] = []
        async with asyncio.timeout(30):
            while not seen or seen[-1] not in _OVER:
                seen.append((await api.ask("GET", f"/jobs/{job['id']}"))[1]["status"])
        order = ["queued", "running", "succeeded"]
        assert [order.index(status) for status in seen] == sorted(order.index(status) for status in seen)


async def test_the_stream_ends_and_tells_every_output_once(api: Rig) -> None:
    jobs = [await api.submit(workflow=picture(seed, steps=6)) for seed in range(4)]
    for job in jobs:
        answer = await asyncio.wait_for(api.ask("GET", f"/jobs/{job['id']}/events"), 30)
        names = [line for line in answer[1].decode().splitlines() if line.startswith("event: ")]
        assert names.count("event: output") == 1 and names[-1] == "event: status"
        progress = [
            json.loads(block.partition("data: ")[2])["value"]
            for block in answer[1].decode().split("\n\n")
            if block.startswith("event: progress")
        ]
        assert progress == sorted(progress)


async def test_sizes_times_and_hashes_are_told(api: Rig) -> None:
    job = await api.submit()
    done = await api.done(job["id"])
    (output,) = done["outputs"]
    data = (await api.ask("GET", f"/assets/{output['id']}/content"))[1]
    assert output["size_bytes"] == len(data) > 0 and output["hash"] == digest(data)
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]


async def test_videos_are_videos_and_texts_are_not_dropped(api: Rig) -> None:
    video = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 4, "color": 3}},
        "2": {"class_type": "SaveWEBM", "inputs": {**_WEBM, "images": ["1", 0]}},
    }
    done = await api.done((await api.submit(workflow=video))["id"])
    (output,) = done["outputs"]
    assert (output["type"], output["content_type"]) == ("video", "video/webm"), output
    words = await api.submit(workflow=api_format.dump(graphs.words("what was said")))
    (text,) = (await api.done(words["id"]))["outputs"]
    assert (text["type"], text["content_type"].partition(";")[0]) == ("text", "text/plain")
    assert (await api.ask("GET", f"/assets/{text['id']}/content"))[1] == b"what was said"


_WEBM = {"filename_prefix": "clip", "codec": "vp9", "fps": 8.0, "crf": 32.0}


async def test_an_output_is_taken_as_an_input_by_its_id(api: Rig) -> None:
    (output,) = (await api.done((await api.submit())["id"]))["outputs"]
    graph = api_format.dump(graphs.load("none.png"))
    graph["1"]["inputs"]["image"] = {"__type": "core/ASSET", "__version": 1, "info": {"id": output["id"]}}
    done = await api.done((await api.submit(workflow=graph))["id"])
    assert done["status"] == "succeeded" and len(done["outputs"]) == 1


async def test_labels_are_a_map_and_lists_have_a_next_page(tmp_path: Path) -> None:
    async with rig(tmp_path, dispatch=False) as api:
        ids = [(await api.submit(metadata={"client": "acme", "n": str(n)}))["id"] for n in range(3)]
        seen, cursor = [], ""
        while True:
            page = (await api.ask("GET", f"/jobs?limit=2{cursor}"))[1]
            seen += [item["id"] for item in page["jobs"]]
            if page.get("next_cursor") is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == ids[::-1]


async def test_the_new_name_of_known_bytes_counts(api: Rig) -> None:
    _, first, _ = await upload(api, b"bytes")
    body = {"hash": first["hash"], "file_path": "renamed.png"}
    status, second, _ = await api.ask("POST", "/assets/from-hash", json=body)
    assert status in (200, 201) and second["file_path"] == "renamed.png"


async def test_a_part_behind_the_end_cannot_be_had(api: Rig) -> None:
    _, asset, _ = await upload(api, b"bytes")
    headers = {"Range": "bytes=5-9"}
    status, error, told = await api.ask("GET", f"/assets/{asset['id']}/content", headers=headers)
    assert (status, error["error"]["code"], told["Content-Range"]) == (416, "range_not_satisfiable", "bytes */5")


@pytest.mark.parametrize("body", ["[]", '"x"', "1", "null", "{", ""])
@pytest.mark.parametrize("path", ["/jobs", "/assets/from-hash", "/batches"])
async def test_a_body_that_is_no_object_is_the_clients_mistake(still: Rig, path: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    status, error, _ = await still.ask("POST", path, data=body, headers=headers)
    assert status in (400, 422) and set(error["error"]) == {"code", "message", "details"}


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, dispatch=False) as found:
        yield found


async def test_the_same_key_gives_the_first_answer_again(still: Rig) -> None:
    answers: list[Any] = []
    for _ in range(2):
        body, headers = {"workflow": picture(1)}, {"Idempotency-Key": "once"}
        answers.append(await still.ask("POST", "/jobs", json=body, headers=headers))
    assert answers[0][1]["id"] == answers[1][1]["id"]
    assert answers[1][2]["Idempotency-Replayed"] == "true"
