"""ComfyUI's routes of jobs over the durable queue: in its shapes, each owner's own, and lasting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from comfyops.jobs.job import JobState
from comfyops.simulator import SimulatorSettings
from comfyops.simulator.settings import Faults
from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph, GraphBuilder
from tests.unit.gateway.house import DurableHouse, durable_house, finished

NOWHERE = "00000000-0000-4000-8000-000000000000"
_SLOW = SimulatorSettings(port=0, seconds_per_node=60)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    async with durable_house(tmp_path) as made:
        yield made


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    """Where nothing is carried out."""
    async with durable_house(tmp_path, dispatch=False) as made:
        yield made


async def submit(home: DurableHouse, token: str, graph: Graph | None = None, **fields: Any) -> str:
    body = {"prompt": api_format.dump(graph or graphs.picture()), **fields}
    status, answer = await home.ask("POST", "/prompt", token, json=body)
    assert status == 200, answer
    return str(answer["prompt_id"])


async def running(home: DurableHouse, job: str) -> None:
    """Wait until a job runs."""
    async with asyncio.timeout(20):
        while True:
            if (await home.queue.get(job)).state is JobState.RUNNING:
                return
            await asyncio.sleep(0.01)


async def test_answers_have_the_shapes_of_a_real_server(home: DurableHouse) -> None:
    ann = home.token("ann")
    status, answer = await home.ask("POST", "/prompt", ann, json={"prompt": api_format.dump(graphs.picture())})
    assert status == 200 and set(answer) == {"prompt_id", "number", "node_errors"} and answer["node_errors"] == {}
    entry = await finished(home, ann, answer["prompt_id"])
    direct = await _direct(home)
    assert set(entry) == set(direct) == {"prompt", "outputs", "status", "meta"}
    assert [type(part) for part in entry["prompt"]] == [type(part) for part in direct["prompt"]]
    assert entry["prompt"][1] == answer["prompt_id"] and entry["prompt"][4] == direct["prompt"][4] == ["2"]
    assert [name for name, _ in entry["status"]["messages"]] == [name for name, _ in direct["status"]["messages"]]
    for (_, ours), (_, theirs) in zip(entry["status"]["messages"], direct["status"]["messages"], strict=True):
        assert set(ours) == set(theirs)
    assert set(entry["outputs"]["2"]["images"][0]) == set(direct["outputs"]["2"]["images"][0])
    assert entry["meta"] == direct["meta"]


async def test_nodes_show_what_they_show_on_a_real_server(home: DurableHouse) -> None:
    ann, words = home.token("ann"), graphs.words("a few words")
    entry = await finished(home, ann, await submit(home, ann, words))
    assert entry["outputs"] == (await _direct(home, words))["outputs"] != {}


async def _direct(home: DurableHouse, graph: Graph | None = None) -> dict[str, Any]:
    """The entry that the server itself has of such a job."""
    body = {"prompt": api_format.dump(graph or graphs.picture()), "client_id": "direct"}
    async with home.session.post(f"{home.backend}/prompt", json=body) as answer:
        job = (await answer.json())["prompt_id"]
    async with asyncio.timeout(20):
        while True:
            async with home.session.get(f"{home.backend}/history/{job}") as answer:
                history = await answer.json()
            if job in history:
                return dict(history[job])
            await asyncio.sleep(0.02)


async def test_history_says_what_was_cached_and_when_it_began(home: DurableHouse) -> None:
    ann, graph = home.token("ann"), graphs.picture(7)
    await finished(home, ann, await submit(home, ann, graph))
    entry = await finished(home, ann, await submit(home, ann, graph))
    told = dict(entry["status"]["messages"])
    assert sorted(told["execution_cached"]["nodes"]) == ["1", "2"]
    assert told["execution_start"]["timestamp"] <= told["execution_success"]["timestamp"]
    assert entry["outputs"]["2"]["images"]


async def test_jobs_are_listed_as_a_real_server_lists_them(home: DurableHouse) -> None:
    ann = home.token("ann")
    job = await submit(home, ann, extra_data={"extra_pnginfo": {"workflow": {"id": "w-1"}}})
    await finished(home, ann, job)
    status, answer = await home.ask("GET", "/api/jobs?limit=1&status=completed", ann)
    assert status == 200 and answer["pagination"] == {"offset": 0, "limit": 1, "total": 1, "has_more": False}
    (listed,) = answer["jobs"]
    assert listed["id"] == job and listed["status"] == "completed" and listed["workflow_id"] == "w-1"
    assert listed["outputs_count"] == 1 and listed["preview_output"]["nodeId"] == "2"
    assert listed["execution_start_time"] <= listed["execution_end_time"]
    detailed = (await home.ask("GET", f"/api/jobs/{job}", ann))[1]
    assert {"outputs", "execution_status", "workflow"} <= set(detailed)
    assert (await home.ask("GET", f"/api/jobs/{NOWHERE}", ann))[0] == 404
    assert (await home.ask("GET", "/api/jobs?status=bogus", ann))[0] == 400
    assert (await home.ask("GET", f"/api/history_v2/{job}", ann))[1][job]["status"]["completed"] is True


async def test_secrets_in_extra_data_are_told_to_nobody(still: DurableHouse) -> None:
    ann = still.token("ann")
    secrets = {"auth_token_comfy_org": "hidden-1", "api_key_comfy_org": "hidden-2"}
    job = await submit(still, ann, extra_data={**secrets, "shown": 1})
    for path in ("/queue", f"/api/jobs/{job}", "/api/jobs", f"/api/v2/jobs/{job}"):
        assert "hidden" not in json.dumps((await still.ask("GET", path, ann))[1]), path
    assert (await still.ask("GET", "/queue", ann))[1]["queue_pending"][0][3]["shown"] == 1
    assert (await still.queue.get(job)).extra_data["api_key_comfy_org"] == "hidden-2"  # the server needs it


async def test_the_header_that_says_who_asks_is_kept(still: DurableHouse) -> None:
    ann = still.token("ann")
    body = {"prompt": api_format.dump(graphs.picture())}
    await still.ask("POST", "/prompt", ann, json=body, headers={"Comfy-Usage-Source": "script"})
    assert (await still.ask("GET", "/queue", ann))[1]["queue_pending"][0][3]["comfy_usage_source"] == "script"


async def test_everything_is_the_owners_and_operators_see_all(home: DurableHouse) -> None:
    ann, bob, boss = home.token("ann"), home.token("bob"), home.token("boss", "operator")
    job = await submit(home, ann)
    await finished(home, ann, job)
    for path in ("/history", f"/history/{job}", f"/api/history_v2/{job}"):
        assert job in (await home.ask("GET", path, ann))[1] and job in (await home.ask("GET", path, boss))[1]
        assert (await home.ask("GET", path, bob)) == (200, {})
    assert [(await home.ask("GET", f"/api/jobs/{job}", who))[0] for who in (ann, bob, boss)] == [200, 404, 200]
    assert (await home.ask("GET", "/api/jobs", bob))[1]["jobs"] == []
    for body in ({"delete": [job]}, {"clear": True}):
        assert (await home.ask("POST", "/history", bob, json=body))[0] == 200
    assert job in (await home.ask("GET", f"/history/{job}", ann))[1]
    assert (await home.ask("POST", "/history", ann, json={"delete": [job, NOWHERE]}))[0] == 200
    assert (await home.ask("GET", f"/history/{job}", ann)) == (200, {})


async def test_waiting_jobs_are_seen_and_taken_back_by_their_owner_only(still: DurableHouse) -> None:
    ann, bob, boss = still.token("ann"), still.token("bob"), still.token("boss", "operator")
    jobs, his = [await submit(still, ann) for _ in range(3)], await submit(still, bob)
    assert [item[1] for item in (await still.ask("GET", "/queue", ann))[1]["queue_pending"]] == jobs
    assert (await still.ask("GET", "/prompt", ann))[1] == {"exec_info": {"queue_remaining": 3}}
    assert (await still.ask("GET", "/prompt", boss))[1] == {"exec_info": {"queue_remaining": 4}}
    assert (await still.ask("POST", f"/api/jobs/{jobs[0]}/cancel", bob))[1] == {"cancelled": False}
    assert (await still.ask("POST", "/queue", bob, json={"delete": jobs[:1]}))[0] == 200
    assert (await still.ask("POST", "/queue", ann, json={"delete": jobs[:1]}))[0] == 200
    assert (await still.ask("POST", f"/api/jobs/{jobs[1]}/cancel", ann))[1] == {"cancelled": True}
    assert (await still.ask("POST", f"/api/jobs/{jobs[1]}/cancel", ann))[1] == {"cancelled": False}
    both = {"job_ids": [jobs[2], his]}
    assert (await still.ask("POST", "/api/jobs/cancel", ann, json=both))[1] == {"cancelled": True}
    assert [item[1] for item in (await still.ask("GET", "/queue", boss))[1]["queue_pending"]] == [his]
    assert (await still.ask("POST", "/queue", bob, json={"clear": True}))[0] == 200
    assert (await still.ask("GET", "/queue", boss))[1] == {"queue_running": [], "queue_pending": []}
    assert {job["status"] for job in (await still.ask("GET", "/api/jobs", ann))[1]["jobs"]} == {"cancelled"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs/cancel", b"not json"),
        ("/api/jobs/cancel", b'{"job_ids": "x"}'),
        ("/api/jobs/cancel", b'{"job_ids": ["x"]}'),
        ("/queue", b"[]"),
        ("/queue", b'{"delete": "x"}'),
        ("/history", b"{"),
        ("/interrupt", b"[]"),
    ],
)
async def test_bodies_that_are_none_are_refused(still: DurableHouse, path: str, body: bytes) -> None:
    assert (await still.ask("POST", path, still.token("ann"), data=body))[0] == 400


async def test_the_running_job_is_interrupted_by_id_or_without(tmp_path: Path) -> None:
    async with durable_house(tmp_path, simulated=_SLOW) as home:
        ann, bob = home.token("ann"), home.token("bob")
        job, waiting = await submit(home, ann), await submit(home, ann)
        await running(home, job)
        assert [item[1] for item in (await home.ask("GET", "/queue", ann))[1]["queue_running"]] == [job]
        assert (await home.ask("POST", "/interrupt", bob))[0] == 200
        assert (await home.ask("POST", "/interrupt", ann, json={"prompt_id": waiting}))[0] == 200
        assert [item[1] for item in (await home.ask("GET", "/queue", ann))[1]["queue_running"]] == [job]
        assert (await home.ask("POST", "/interrupt", ann, json={"prompt_id": job}))[0] == 200
        entry = await finished(home, ann, job)
        name, why = entry["status"]["messages"][-1]
        assert name == "execution_interrupted" and entry["status"]["status_str"] == "error"
        assert {"prompt_id", "node_id", "node_type", "executed", "timestamp"} <= set(why)
        assert (await home.ask("GET", f"/api/jobs/{job}", ann))[1]["status"] == "cancelled"
        await running(home, waiting)
        assert (await home.ask("POST", "/interrupt", ann))[0] == 200
        assert (await finished(home, ann, waiting))["status"]["completed"] is False


async def test_a_failed_node_is_told_as_by_a_real_server(tmp_path: Path) -> None:
    faults = Faults(fail_class="ImageInvert")
    async with durable_house(tmp_path, simulated=SimulatorSettings(port=0, faults=faults)) as home:
        build = GraphBuilder()
        image = build.add("EmptyImage", width=16, height=16, batch_size=1, color=1)
        inverted = build.add("ImageInvert", image=image[0])
        build.add("SaveImage", filename_prefix="x", images=inverted[0])
        ann = home.token("ann")
        job = await submit(home, ann, build.build())
        name, why = (await finished(home, ann, job))["status"]["messages"][-1]
        assert name == "execution_error" and (why["node_id"], why["node_type"]) == ("2", "ImageInvert")
        wanted = {"exception_message", "exception_type", "traceback", "current_inputs", "current_outputs", "executed"}
        assert wanted <= set(why) and why["exception_message"]
        listed = (await home.ask("GET", f"/api/jobs/{job}", ann))[1]
        assert listed["status"] == "failed" and listed["execution_error"]["node_id"] == "2"


async def test_a_half_valid_graph_runs_with_the_errors_of_the_rest(home: DurableHouse) -> None:
    ann = home.token("ann")
    status, answer = await home.ask("POST", "/prompt", ann, json={"prompt": api_format.dump(graphs.half_bad())})
    assert status == 200 and answer["node_errors"]["3"]["errors"][0]["type"] == "required_input_missing"
    assert list((await finished(home, ann, answer["prompt_id"]))["outputs"]) == ["2"]
    status, answer = await home.ask("POST", "/prompt", ann, json={"prompt": api_format.dump(graphs.bad())})
    assert status == 400 and answer["error"]["type"] == "prompt_outputs_failed_validation"
    assert answer["node_errors"]["1"]["class_type"] == "EmptyImage"


async def test_only_the_wanted_outputs_run(home: DurableHouse) -> None:
    build = GraphBuilder()
    for color in (1, 2):
        image = build.add("EmptyImage", width=16, height=16, batch_size=1, color=color)
        build.add("SaveImage", filename_prefix="x", images=image[0])
    ann = home.token("ann")
    job = await submit(home, ann, build.build(), partial_execution_targets=["4"])
    assert list((await finished(home, ann, job))["outputs"]) == ["4"]
    for targets in ([], ["9"]):
        body = {"prompt": api_format.dump(build.build()), "partial_execution_targets": targets}
        status, answer = await home.ask("POST", "/prompt", ann, json=body)
        assert status == 400 and answer["error"]["type"] == "prompt_no_outputs", targets


async def test_the_clients_id_is_the_jobs_and_taken_once(still: DurableHouse) -> None:
    ann, job = still.token("ann"), str(uuid4())
    assert await submit(still, ann, prompt_id=job) == job
    body = {"prompt": api_format.dump(graphs.picture()), "prompt_id": job}
    for who in (ann, still.token("bob")):
        status, answer = await still.ask("POST", "/prompt", who, json=body)
        assert (status, answer["error"]["type"]) == (409, "duplicate_prompt_id")
    assert len((await still.ask("GET", "/queue", ann))[1]["queue_pending"]) == 1


async def test_the_same_request_again_is_the_same_job(still: DurableHouse) -> None:
    ann, bob = still.token("ann"), still.token("bob")
    body, key = {"prompt": api_format.dump(graphs.picture(3))}, {"Idempotency-Key": "order 1"}
    first, again = [await still.ask("POST", "/prompt", ann, json=body, headers=key) for _ in range(2)]
    assert first == again and first[0] == 200
    other = {"prompt": api_format.dump(graphs.picture(4))}
    assert (await still.ask("POST", "/prompt", ann, json=other, headers=key))[0] == 422
    assert (await still.ask("POST", "/prompt", bob, json=body, headers=key))[1]["prompt_id"] != first[1]["prompt_id"]
    too_long = {"Idempotency-Key": "x" * 256}
    assert (await still.ask("POST", "/prompt", ann, json=body, headers=too_long))[0] == 400


async def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    async with durable_house(tmp_path, dispatch=False, max_waiting=2) as still:
        ann, bob = still.token("ann"), still.token("bob")
        for _ in range(2):
            await submit(still, ann)
        headers = {"Authorization": f"Bearer {ann}"}
        body = {"prompt": api_format.dump(graphs.picture())}
        async with still.session.post(f"{still.url}/prompt", json=body, headers=headers) as answer:
            assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
            assert (await answer.json())["error"]["type"] == "too_many_jobs"
        await submit(still, bob)


async def test_operators_may_put_a_job_in_front(still: DurableHouse) -> None:
    ann, boss = still.token("ann"), still.token("boss", "operator")
    first = await submit(still, ann, front=True)
    second = await submit(still, boss, front=True)
    third = await submit(still, boss, number=-5)
    pending = (await still.ask("GET", "/queue", boss))[1]["queue_pending"]
    assert [item[1] for item in pending] == [second, third, first]


async def test_history_is_paged_newest_last(home: DurableHouse) -> None:
    ann = home.token("ann")
    jobs = [await submit(home, ann) for _ in range(3)]
    for job in jobs:
        await finished(home, ann, job)
    assert list((await home.ask("GET", "/history", ann))[1]) == jobs
    assert list((await home.ask("GET", "/history?max_items=2", ann))[1]) == jobs[1:]
    assert list((await home.ask("GET", "/history?max_items=1&offset=1", ann))[1]) == jobs[1:2]
    assert (await home.ask("GET", "/history?max_items=0", ann))[1] == {}
    assert (await home.ask("GET", "/history?max_items=x", ann))[0] == 400


async def test_viewers_look_and_submit_nothing(still: DurableHouse) -> None:
    viewer = still.token("viewer", "viewer")
    body = {"prompt": api_format.dump(graphs.picture())}
    assert (await still.ask("POST", "/prompt", viewer, json=body))[0] == 403
    assert (await still.ask("GET", "/queue", viewer))[0] == 200


async def test_lists_of_jobs_are_paged_sorted_and_found_by_workflow(home: DurableHouse) -> None:
    ann = home.token("ann")
    extra = [{"extra_pnginfo": {"workflow": {"id": name}}} for name in ("w-1", "w-2", "w-1")]
    jobs = [await submit(home, ann, extra_data=data) for data in extra]
    for job in jobs:
        await finished(home, ann, job)

    async def ids(query: str) -> tuple[list[str], dict[str, Any]]:
        answer = (await home.ask("GET", f"/api/jobs?{query}", ann))[1]
        return [item["id"] for item in answer["jobs"]], answer["pagination"]

    assert (await ids("limit=2"))[0] == jobs[:0:-1]
    page, place = await ids("limit=2&offset=2&sort_order=desc&status=completed,failed")
    assert (page, place) == (jobs[:1], {"offset": 2, "limit": 2, "total": 3, "has_more": False})
    assert (await ids("limit=1&sort_order=asc"))[1]["has_more"] is True
    assert (await ids("sort_order=asc"))[0] == jobs
    assert (await ids("workflow_id=w-1&sort_order=asc"))[0] == [jobs[0], jobs[2]]
    assert set((await ids("sort_by=execution_duration"))[0]) == set(jobs)
    assert (await ids("status=pending"))[0] == []
    assert (await home.ask("GET", "/api/jobs?sort_by=x", ann))[0] == 400
