"""Recordings of a full queue, of jobs, and of prompts that break a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from tests.conformance.normal import normal, normal_response
from tests.conformance.outcome import Outcome
from tests.conformance.replay import IMAGE_PROMPT, Server, serve
from tests.conformance.scenarios import Story, _sd15

HEALTHY, DEAD, GONE = "healthy", "WORKER THREAD DEAD (accepts prompts, never runs)", "PROCESS EXITED"
Data = Mapping[str, Any]


async def full_queue(version: str, data: Data) -> AsyncIterator[Outcome]:
    """One long run and five waiting prompts; deleting, interrupting, forgetting."""
    busy = data["queue_busy"]
    running, pending = busy["queue_running"][0], busy["queue_pending"]
    async with serve(version, seconds_per_step=0.02) as server:
        await _submit(server, running)
        await server.busy()
        for item in sorted(pending, key=lambda item: abs(item[0])):
            await _submit(server, item, front=item[0] < 0)
        found = await server.get("/queue")
        yield Outcome(version, "queue", _ids(busy), _ids(found))
        for place, call in enumerate(data["calls"]):
            if "interrupt {}" in str(call["note"]) or call["note"] == "job interrupted":
                await asyncio.sleep(0.05)
            answer = normal_response(await server.send(call["request"]))
            expected = normal_response(call["response"])
            if call["note"] in ("busy", "after clear") and "queue_running" in expected.get("json", {}):
                expected["json"], answer["json"] = _ids(call["response"]["json"]), _ids(answer["json"])
            yield Outcome(version, f"{place:02} {call['note'] or call['request']['path']}", expected, answer)
            if "interrupt {}" in str(call["note"]):
                await server.idle()
        async for outcome in _twins(server, version, data["dup"]):
            yield outcome


async def _twins(server: Server, version: str, calls: list[Any]) -> AsyncIterator[Outcome]:
    for _ in range(100):  # each refused prompt takes a number; the recorded server had given away as many
        await server.send({"method": "POST", "path": "/prompt", "json": {}})
    await server.post(_sd15(3000, seed=99))
    await server.busy()
    for call in calls:
        answer = normal_response(await server.send(call["request"]))
        yield Outcome(version, f"twins: {call['note']}", normal_response(call["response"]), answer)
    await server.send({"method": "POST", "path": "/interrupt", "json": {}})
    await server.idle()


async def _submit(server: Server, item: list[Any], *, front: bool = False) -> None:
    extra = {key: value for key, value in item[3].items() if key != "create_time"}
    more = {"front": True} if front else {}
    await server.post(item[2], prompt_id=item[1], extra_data=extra, **more)


def _ids(queue: Any) -> Any:
    """The order of a queue; each prompt by the class and a constant that tell it from others."""
    return {key: [normal(item[2]) for item in items] for key, items in queue.items()}


async def jobs(version: str, cases: list[Any]) -> AsyncIterator[Outcome]:
    """The jobs API on one finished, one failed, one running and four waiting jobs."""
    details = [case["response"]["json"] for case in cases if case.get("note") in ("get completed", "get failed")]
    listed = next(case for case in cases if case.get("note") == "list busy")["response"]["json"]["jobs"]
    async with serve(version, seconds_per_step=0.02) as server:
        (server.simulator.folders.input / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
        for job in details:
            await server.post(job["workflow"]["prompt"], prompt_id=job["id"], client_id="jobs")
            await server.idle()
        await _fill(server, [job for job in reversed(listed) if job["status"] in ("in_progress", "pending")])
        for place, case in enumerate(cases):
            if str(case.get("note")) == "batch running + 2 pending":
                ids = case["request"]["json"]["job_ids"]
                await _fill(server, [{"id": job_id} for job_id in ids])
            answer = normal_response(await server.send(case["request"]))
            if str(case.get("note")) == "cancel RUNNING":
                await server.idle()
            title = f"{place:02} {case.get('note') or case['request']['path']}"
            yield Outcome(version, title, _job_answer(normal_response(case["response"])), _job_answer(answer))


async def _fill(server: Server, listed: list[Any]) -> None:
    """One long job and the others behind it, in this order."""
    for place, job in enumerate(listed):
        extra = {"extra_pnginfo": {"workflow": {"id": job["workflow_id"]}}} if "workflow_id" in job else {}
        prompt = _sd15(3000, seed=place) if place == 0 else IMAGE_PROMPT
        await server.post(prompt, prompt_id=job["id"], client_id="jobs", extra_data=extra)
        await asyncio.sleep(0.003)  # jobs are sorted by the millisecond of their creation
        if place == 0:
            await server.busy()


def _job_answer(answer: dict[str, Any]) -> dict[str, Any]:
    body = answer.get("json")
    if isinstance(body, dict):
        body.pop("workflow", None)
        answer["headers"].pop("Allow", None)
    return answer


async def poison(version: str, cases: list[Any]) -> AsyncIterator[Outcome]:
    """Odd prompts, each on a server of its own: the answer, and how the server is afterwards."""
    for place, case in enumerate(cases):
        async with serve(version) as server:
            title = f"{place:02} {case['case']}"
            if "all_status" in (case.get("call") or {}):
                yield await _twins_break(server, version, title, case)
                continue
            request = case["call"]["request"]
            if "1 MB" in case["case"]:
                request = {**request, "json": {"prompt": IMAGE_PROMPT, "prompt_id": "x" * 1_000_000}}
            answer = normal_response(await server.send(request))
            expected = {"answer": normal_response(case["call"]["response"]), "after": case["after"]}
            if "bytes of JSON" in str(case["call"]["response"].get("json")):
                expected["answer"].pop("json"), answer.pop("json")
            yield Outcome(version, title, expected, {"answer": answer, "after": await _health(server)})


async def _twins_break(server: Server, version: str, title: str, case: Any) -> Outcome:
    await server.post(_sd15(3000))
    await server.busy()
    expected = case["call"]["all_status"]
    got = [(await server.send(case["call"]["request"]))["status"] for _ in expected]
    return Outcome(version, title, expected, got)


async def _health(server: Server) -> str:
    """Whether another prompt still runs."""
    try:
        await server.idle(3)
        await server.post(IMAGE_PROMPT)
        await server.idle(3)
    except aiohttp.ClientError:
        return GONE
    except TimeoutError:
        return DEAD
    return HEALTHY


async def twins(version: str, data: list[Any]) -> AsyncIterator[Outcome]:
    """Prompts of the same number and id, two and three of them, while another one runs."""
    for case in data:
        async with serve(version, seconds_per_step=0.02) as server:
            await server.post(_sd15(3000))
            await server.busy()
            body = {"prompt": IMAGE_PROMPT, "prompt_id": "00000000-0000-4000-8000-000000000003", "number": 5}
            request = {"method": "POST", "path": "/prompt", "json": body}
            got = [(await server.send(request))["status"] for _ in range(case["copies"])]
            await server.send({"method": "POST", "path": "/interrupt", "json": {}})
            expected = {"posts": case["post_statuses"], "healthy": case["good_prompt_ran"]}
            result = {"posts": got, "healthy": await _health(server) == HEALTHY}
            yield Outcome(version, f"{case['copies']} twins", expected, result)


async def chains(version: str, data: list[Any]) -> AsyncIterator[Outcome]:
    """Chains of nodes near the server's recursion limit."""
    for case in data:
        if "n" not in case:
            continue
        async with serve(version) as server:
            answer = await server.post(_chain(case["n"]))
            expected: dict[str, Any] = {"accepted": "rejected" not in case}
            got: dict[str, Any] = {"accepted": answer["status"] == 200}
            if expected["accepted"]:
                expected["healthy"] = case["healthy_after"]
                got["healthy"] = await _chain_health(server)
            yield Outcome(version, f"chain of {case['n']}", expected, got)


async def _chain_health(server: Server) -> bool:
    """Interrupt the long run; a living worker then takes the next prompt."""
    await asyncio.sleep(0.1)
    await server.send({"method": "POST", "path": "/interrupt", "json": {}})
    return await _health(server) == HEALTHY


def _chain(count: int) -> dict[str, Any]:
    nodes: dict[str, Any] = {"1": IMAGE_PROMPT["1"]}
    for number in range(2, count):
        nodes[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    last = {"filename_prefix": "chain", "images": [str(count - 1), 0]}
    return {**nodes, str(count): {"class_type": "SaveImage", "inputs": last}}


STORIES: Mapping[str, Story] = {
    "chain_depth_limit": chains,
    "jobs_v033": jobs,
    "poison_prompts": poison,
    "poison_same_number_same_id": twins,
    "queue_interrupt_free_history": full_queue,
}
