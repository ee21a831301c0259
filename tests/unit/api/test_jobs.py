"""Jobs over Comfy API v2."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from comfyops.gateway.refusal import RefusedError
from tests.unit.api.rig import Rig, picture, rig


@pytest.fixture
async def api(tmp_path: Path):
    async with rig(tmp_path) as found:
        yield found


@pytest.fixture
async def still(tmp_path: Path):
    """Without a dispatcher: what is accepted waits."""
    async with rig(tmp_path, dispatch=False) as found:
        yield found


async def test_a_job_is_accepted_run_and_shown_with_its_outputs(api: Rig) -> None:
    job = await api.submit(metadata={"shot": "3"}, name="cats")
    assert job["status"] in ("queued", "running") and job["outputs"] == []
    done = await api.done(job["id"])
    assert (done["status"], done["metadata"], done["name"], done["error"]) == ("succeeded", {"shot": "3"}, "cats", None)
    (output,) = done["outputs"]
    assert output["type"] == "image" and output["content_type"] == "image/png" and output["size_bytes"] > 100
    assert output["hash"].startswith("blake3:") and output["job_id"] == job["id"] and output["node_id"] == "6"
    assert done["progress"]["value"] == 1 and done["started_at"] and done["completed_at"]
    assert done["metrics"]["execution_ms"] is not None
    status, data, headers = await api.ask("GET", f"/assets/{output['id']}/content")
    assert status == 200 and data.startswith(b"\x89PNG") and len(data) == output["size_bytes"]
    assert headers["Content-Type"] == "image/png"
    assert (await api.ask("GET", f"/jobs/{job['id']}/workflow"))[1] == {"workflow": picture(), "format": "api"}


@pytest.mark.parametrize("info", [[1], "x", 7, {"workflow": [1]}, {"workflow": "x"}])
async def test_what_is_said_beside_a_workflow_has_the_form_that_servers_can_stand(still: Rig, info: object) -> None:
    job = {"workflow": picture(), "extra_data": {"extra_pnginfo": info}}
    for path, body in (("/jobs", job), ("/batches", {"jobs": [job]})):
        status, error, _ = await still.ask("POST", path, json=body)
        assert 400 <= status < 500 and "extra_pnginfo" in error["error"]["message"]


async def test_the_same_key_gives_the_same_job_and_another_request_is_refused(still: Rig) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"workflow": picture()}
    status, first, _ = await still.ask("POST", "/jobs", json=body, headers=headers)
    again, second, told = await still.ask("POST", "/jobs", json=body, headers=headers)
    assert (status, again, first["id"]) == (201, 201, second["id"]) and told["Idempotency-Replayed"] == "true"
    status, error, _ = await still.ask("POST", "/jobs", json={"workflow": picture(2)}, headers=headers)
    assert (status, error["error"]["code"]) == (422, "idempotency_key_reuse")
    status, other, _ = await still.ask("POST", "/jobs", "bob", json=body, headers=headers)
    assert status == 201 and other["id"] != first["id"]
    assert (await still.ask("POST", "/jobs", json=body, headers={"Idempotency-Key": "x" * 300}))[0] == 400


async def test_jobs_are_listed_by_page_status_and_label(still: Rig) -> None:
    ids = [(await still.submit(metadata={"n": str(number), "odd": str(number % 2)}))["id"] for number in range(5)]
    await still.submit("bob")
    _, page, _ = await still.ask("GET", "/jobs?limit=3")
    assert [job["id"] for job in page["jobs"]] == ids[:1:-1]
    _, rest, _ = await still.ask("GET", f"/jobs?limit=3&cursor={page['next_cursor']}")
    assert [job["id"] for job in rest["jobs"]] == ids[1::-1] and "next_cursor" not in rest
    _, odd, _ = await still.ask("GET", "/jobs?metadata[odd]=1&metadata[n]=3")
    assert [job["id"] for job in odd["jobs"]] == [ids[3]]
    assert (await still.ask("GET", "/jobs?metadata[n]=%25"))[1]["jobs"] == []
    assert len((await still.ask("GET", "/jobs?status=queued,running"))[1]["jobs"]) == 5
    assert (await still.ask("GET", "/jobs?status=succeeded"))[1]["jobs"] == []
    assert (await still.ask("GET", "/jobs?status=nonsense"))[1]["error"]["code"] == "invalid_request"
    assert (await still.ask("GET", "/jobs?cursor=nonsense"))[1]["error"]["code"] == "invalid_request"
    assert len((await still.ask("GET", "/jobs?everybody=true", "olga"))[1]["jobs"]) == 6
    assert len((await still.ask("GET", "/jobs?everybody=true"))[1]["jobs"]) == 5


async def test_somebody_elses_job_is_as_unknown_as_none(still: Rig) -> None:
    job = await still.submit()
    for method, path in (
        ("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/workflow"), ("GET", "/explain"),
        ("POST", "/retry"), ("DELETE", ""),
    ):  # fmt: skip
        status, error, _ = await still.ask(method, f"/jobs/{job['id']}{path}", "bob")
        assert (status, error["error"]["code"]) == (404, "not_found"), (method, path)
    assert (await still.ask("GET", f"/jobs/{job['id']}", "olga"))[0] == 200
    assert (await still.ask("GET", "/jobs/../../etc/passwd"))[0] == 404
    assert (await still.ask("GET", "/jobs/no-uuid"))[1]["error"]["code"] == "not_found"
    assert (await still.ask("GET", f"/jobs/{job['id']}", "nobody"))[0] == 401


async def test_a_waiting_job_is_cancelled_retried_and_deleted(still: Rig) -> None:
    first, second = await still.submit(), await still.submit()
    assert (await still.ask("GET", f"/jobs/{second['id']}"))[1]["queue_position"] == 2
    status, job, _ = await still.ask("POST", f"/jobs/{first['id']}/cancel")
    assert (status, job["status"], job["queue_position"]) == (200, "canceled", None)
    assert (await still.ask("POST", f"/jobs/{first['id']}/cancel"))[1]["status"] == "canceled"
    assert (await still.ask("GET", f"/jobs/{second['id']}"))[1]["queue_position"] == 1
    assert (await still.ask("POST", f"/jobs/{first['id']}/retry"))[1]["status"] == "queued"
    status, error, _ = await still.ask("DELETE", f"/jobs/{first['id']}")
    assert (status, error["error"]["code"]) == (409, "job_state")
    await still.ask("POST", f"/jobs/{first['id']}/cancel")
    assert (await still.ask("DELETE", f"/jobs/{first['id']}"))[0] == 204
    assert (await still.ask("GET", f"/jobs/{first['id']}"))[0] == 404


async def test_a_running_job_is_cancelled_and_its_run_stops(tmp_path: Path) -> None:
    async with rig(tmp_path, seconds_per_step=0.05) as api:
        job = await api.submit(workflow=picture(steps=200))
        async for event in api.queue.events(job["id"]):
            if event.type in ("started", "node"):
                break
        status, found, _ = await api.ask("POST", f"/jobs/{job['id']}/cancel")
        assert status == 200 and found["status"] in ("canceling", "canceled")
        assert (await api.done(job["id"]))["status"] == "canceled"
        async with api.session.get(f"{api.simulator.url}/queue") as answer:
            assert await answer.json() == {"queue_running": [], "queue_pending": []}


async def test_priority_changes_the_order(still: Rig) -> None:
    first, second = await still.submit(priority=1), await still.submit(priority=5)
    await still.ask("POST", f"/jobs/{second['id']}/priority", json={"priority": 0})
    places = [(await still.ask("GET", f"/jobs/{job['id']}"))[1]["queue_position"] for job in (first, second)]
    assert places == [2, 1]
    _, told, _ = await still.ask("GET", f"/jobs/{first['id']}/explain")
    assert told["queue_position"] == 2 and told["reason"] and told["attempts"] == []


async def test_nobody_puts_his_jobs_ahead_of_those_of_others(still: Rig) -> None:
    job = await still.submit()
    ahead = {"workflow": picture(1), "priority": -1}
    for path, body in (
        ("/jobs", ahead),
        ("/batches", {"jobs": [ahead]}),
        (f"/jobs/{job['id']}/priority", {"priority": -1}),
    ):
        status, answer, _ = await still.ask("POST", path, json=body)
        assert (status, answer["error"]["code"]) == (403, "forbidden"), path
    status, found, _ = await still.ask("POST", f"/jobs/{job['id']}/priority", "olga", json={"priority": -1})
    assert (status, found["priority"]) == (200, -1)


async def test_a_batch_is_taken_whole_or_not_at_all(still: Rig) -> None:
    jobs = [{"workflow": picture(seed)} for seed in range(3)]
    headers = {"Idempotency-Key": "b"}
    status, batch, _ = await still.ask("POST", "/batches", json={"jobs": jobs, "name": "three"}, headers=headers)
    assert (status, len(batch["job_ids"]), batch["statuses"]) == (201, 3, {"queued": 3})
    assert (await still.ask("POST", "/batches", json={"jobs": jobs, "name": "three"}, headers=headers))[1] == batch
    assert (await still.ask("GET", f"/batches/{batch['id']}"))[1]["done"] is False
    assert len((await still.ask("GET", f"/jobs?batch={batch['id']}"))[1]["jobs"]) == 3
    bad = [*jobs, {"workflow": picture(), "depends_on": ["4cd4e1a6-7c0f-4c8e-8f4e-0d8f7a3a4b5c"]}]
    status, error, _ = await still.ask("POST", "/batches", json={"jobs": bad})
    assert (status, error["error"]["code"]) == (404, "not_found")
    assert len((await still.ask("GET", "/jobs"))[1]["jobs"]) == 3


async def test_names_and_filters_are_texts_that_every_database_can_keep(still: Rig) -> None:
    for method, path, body in (
        ("GET", "/jobs?batch=%00", None),
        ("POST", "/batches", {"name": "a\x00", "jobs": [{"workflow": picture()}]}),
    ):
        status, error, _ = await still.ask(method, path, json=body)
        assert (status, error["error"]["code"]) == (400, "invalid_request"), path


async def test_a_job_waits_for_another_and_takes_its_output(api: Rig) -> None:
    first = await api.submit()
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": {"$output": {"job": first["id"], "index": 0}}}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
    }
    second = await api.submit(workflow=graph)
    done = await api.done(second["id"])
    assert done["status"] == "succeeded" and done["outputs"][0]["name"].startswith("inverted")
    third = await api.submit(workflow={**graph, "1": {"class_type": "LoadImage", "inputs": {"image": _asset(done)}}})
    assert (await api.done(third["id"]))["status"] == "succeeded"


def _asset(job: dict) -> dict:
    return {"__type": "core/ASSET", "info": {"id": job["outputs"][0]["id"]}}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b"{", 400, "invalid_request"),
        (b'{"workflow": NaN}', 400, "invalid_request"),
        (b"[" * 5000 + b"]" * 5000, 400, "invalid_request"),
        (b"{}", 422, "invalid_workflow"),
        (b'{"workflow": []}', 422, "invalid_workflow"),
        (b'{"workflow": {}}', 422, "invalid_workflow"),
        (b'{"workflow": {"nodes": [], "links": []}}', 422, "workflow_format_ui"),
        (b'{"workflow": {"1": {"class_type": "X", "inputs": {}}}, "priority": "high"}', 400, "invalid_request"),
        (b'{"workflow": {"1": {"class_type": "X", "inputs": {}}}, "priority": 10000000}', 400, "invalid_request"),
        (b'{"workflow": {"1": {"class_type": "X", "inputs": {}}}, "nonsense": 1}', 400, "invalid_request"),
        (b'{"workflow": {"1": {"class_type": "X", "inputs": {}}}, "metadata": {"a": 1}}', 400, "invalid_request"),
        (b'{"workflow": {"1": {"class_type": "X", "inputs": {"i": {"__type": "core/ASSET"}}}}}', 422, "missing_asset"),
    ],
)
async def test_bad_requests_get_the_error_of_the_contract(still: Rig, body: bytes, status: int, code: str) -> None:
    got, error, _ = await still.ask("POST", "/jobs", data=body, headers={"Content-Type": "application/json"})
    assert (got, error["error"]["code"]) == (status, code), error
    assert error["error"]["message"].endswith(".") and set(error["error"]) == {"code", "message", "details"}


async def test_what_the_gateway_refuses_is_told_by_node(still: Rig) -> None:
    fault = {"type": "value_not_in_list", "message": "No", "details": "x", "extra_info": {"input_name": "ckpt_name"}}
    nodes = {"1": {"errors": [fault], "dependent_outputs": ["6"], "class_type": "CheckpointLoaderSimple"}}
    still.refused["ann"] = RefusedError(400, "prompt_outputs_failed_validation", "It is not valid.", node_errors=nodes)
    status, error, _ = await still.ask("POST", "/jobs", json={"workflow": picture()})
    assert (status, error["error"]["code"]) == (422, "invalid_workflow")
    assert error["error"]["details"]["node_errors"]["1"][0]["field"] == "ckpt_name"
    still.refused["ann"] = RefusedError(403, "class_not_allowed", "Not for you.")
    status, error, _ = await still.ask("POST", "/jobs", json={"workflow": picture()})
    assert (status, error["error"]["code"]) == (403, "forbidden")


async def test_a_job_that_fails_says_where_and_why(api: Rig) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    job = await api.submit(workflow=graph)
    done = await api.done(job["id"])
    assert done["status"] == "failed" and done["error"]["message"]


async def test_events_end_with_the_outputs_before_the_last_status(api: Rig) -> None:
    job = await api.submit(workflow=picture(7, steps=12))
    frames = await _frames(api, job["id"])
    names = [name for name, _ in frames]
    assert frames[-1] == ("status", {"status": "succeeded"}) and names.count("output") == 1
    assert names.index("output") < len(names) - 1 and "progress" in names
    values = [data["value"] for name, data in frames if name == "progress"]
    assert values == sorted(values) and values[-1] == 1
    late = await _frames(api, job["id"])
    assert [name for name, _ in late] == ["progress", "output", "status"]


async def _frames(api: Rig, job: str) -> list[tuple[str, dict]]:
    import json

    status, data, headers = await asyncio.wait_for(api.ask("GET", f"/jobs/{job}/events"), 60)
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream")
    found = []
    for block in data.decode().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith(":")]
        if lines:
            found.append((lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
    return found


async def test_health_tells_of_the_backends(api: Rig) -> None:
    job = await api.submit()
    await api.done(job["id"])
    assert (await api.ask("GET", "/health"))[1] == {
        "status": "healthy",
        "backends": 1,
        "backends_up": 1,
        "paused": False,
    }
    await api.queue.pause()
    assert (await api.ask("GET", "/health"))[1]["status"] == "degraded"
