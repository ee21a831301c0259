"""What is let through to a server as a job, and what never is."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyops.gateway import prompts
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Classes, Limits
from comfyops.simulator import SimulatorSettings
from tests.poison import GOOD
from tests.unit.gateway.house import House, finished, house


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.mark.parametrize("info", [None, {}, {"workflow": None}])
def test_a_workflow_that_is_null_is_left_out_of_what_is_said(info: object) -> None:
    assert prompts.extra_data({"extra_pnginfo": info, "x": 1}) == {"extra_pnginfo": {}, "x": 1}
    assert prompts.extra_data({"x": 1}) == {"x": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32"])
def test_whole_characters_are_read_however_they_are_written(encoding: str) -> None:
    body = json.dumps({"x": "\U0001f5fc \u00fc", "y": 1e300}, ensure_ascii=encoding == "utf-8").encode(encoding)
    assert prompts.read_json(body, Limits()) == {"x": "\U0001f5fc \u00fc", "y": 1e300}


async def test_the_same_id_is_taken_once(fresh: House) -> None:
    token, other = fresh.token("a"), fresh.token("b")
    job = str(uuid.uuid4())
    body = {"prompt": GOOD, "prompt_id": job, "number": 3}
    assert (await fresh.ask("POST", "/prompt", token, json=body))[1]["prompt_id"] == job
    for who in (token, other):
        assert (await fresh.ask("POST", "/prompt", who, json=body))[0] == 409
    await finished(fresh, token, job)


async def test_bodies_are_bounded_and_not_compressed(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(prompt_bytes=1000)) as home:
        token = home.token("a")
        large = json.dumps({"prompt": GOOD, "extra_data": {"x": "y" * 1000}}).encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield large

        assert (await home.ask("POST", "/prompt", token, data=large))[0] == 413
        assert (await home.ask("POST", "/prompt", token, data=pieces()))[0] == 413
        headers = {"Content-Encoding": "gzip"}
        assert (await home.ask("POST", "/prompt", token, data=b"x", headers=headers))[0] == 415


async def test_a_role_uses_only_the_nodes_it_may(tmp_path: Path) -> None:
    rules = {"artist": Classes(deny=frozenset({"EmptyImage"})), "operator": Classes(allow=frozenset({"SaveImage"}))}
    async with house(tmp_path, classes=rules) as home:
        for role, status in (("artist", 403), ("operator", 403), ("administrator", 200)):
            found, answer = await home.ask("POST", "/prompt", home.token(role, role), json={"prompt": GOOD})
            assert found == status, answer


async def test_viewers_submit_nothing(fresh: House) -> None:
    assert (await fresh.ask("POST", "/prompt", fresh.token("v", "viewer"), json={"prompt": GOOD}))[0] == 403


async def test_one_owner_has_only_so_many_jobs_at_once(tmp_path: Path) -> None:
    slow = SimulatorSettings(port=0, seconds_per_node=60)
    async with house(tmp_path, simulated=slow, limits=Limits(jobs=2)) as home:
        token = home.token("a")
        for statuses in ([200, 200, 429, 429, 429], [429] * 5):
            sent = (home.ask("POST", "/prompt", token, json={"prompt": GOOD}) for _ in range(5))
            assert sorted(status for status, _ in await asyncio.gather(*sent)) == statuses
            await home.gateway.servers[0].look()
        await home.ask("POST", "/queue", token, json={"clear": True})
        await home.gateway.servers[0].look()
        assert (await home.ask("POST", "/prompt", token, json={"prompt": GOOD}))[0] == 200
        assert (await home.ask("POST", "/prompt", home.token("b"), json={"prompt": GOOD}))[0] == 200


async def test_one_owner_asks_only_so_often(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(requests_per_second=0.1, requests_burst=3)) as home:
        token = home.token("a")
        assert [(await home.ask("GET", "/queue", token))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert (await home.ask("GET", "/queue", home.token("b")))[0] == 200


def test_what_is_passed_on_is_written_anew() -> None:
    body = {
        "prompt": GOOD,
        "client_id": "mine",
        "front": True,
        "surprise": {},
        "extra_data": {"client_id": "x", "y": 1},
    }
    request = prompts.read(json.dumps(body).encode(), Limits())
    sent = json.loads(prompts.written(request, "name", ahead=False))
    assert set(sent) == {"prompt", "client_id", "prompt_id", "extra_data"}
    assert sent["client_id"] == "name" and sent["extra_data"] == {"y": 1} and prompts.is_job_id(sent["prompt_id"])
    assert all(node["_meta"] == {} for node in sent["prompt"].values())
    assert json.loads(prompts.written(request, "name", ahead=True))["front"] is True


@pytest.mark.parametrize("levels", [10, 64, 65, 900])
def test_depth_is_counted_only_as_far_as_needed(levels: int) -> None:
    text = deep(levels).encode()
    if levels <= 64:
        prompts.read_json(text, Limits())
        return
    with pytest.raises(RefusedError) as refused:
        prompts.read_json(text, Limits())
    assert refused.value.status == 400


def test_a_job_without_an_id_gets_one_by_its_time_that_no_other_has() -> None:
    ids = [prompts.new_job_id() for _ in range(5000)]
    assert len(set(ids)) == len(ids) and all(prompts.is_job_id(job) for job in ids)
    assert {(uuid.UUID(job).version, uuid.UUID(job).variant) for job in ids} == {(7, uuid.RFC_4122)}
    assert all(abs(int(job.replace("-", "")[:12], 16) / 1000 - time.time()) < 3600 for job in ids)
