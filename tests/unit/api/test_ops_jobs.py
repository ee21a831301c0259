"""What operators do with queue, fleet, quotas, schedules and webhooks, over a real queue with a simulated backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyops.api.ops import app as ops
from comfyops.api.ops.backends import Backends, Target
from comfyops.auth import scopes
from comfyops.simulator import Faults
from tests.unit.api.rig import PEOPLE, Rig, picture, rig
from tests.unit.api.served import served


class Desk:
    """Requests to the operators' API."""

    def __init__(self, url: str, at: Rig) -> None:
        self._url = url
        self.rig = at

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.rig.session.request(method, f"{self._url}/ops{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def good(self, method: str, path: str, body: Any = None) -> Any:
        status, data = await self.ask(method, path, body)
        assert status == 200, data
        return data

    async def refused(self, status: int, code: str, method: str, path: str, body: Any = None) -> str:
        found, data = await self.ask(method, path, body)
        assert (found, data["error"]["code"]) == (status, code), data
        assert set(data["error"]) == {"code", "message", "hint", "details"}
        return str(data["error"]["message"])


@asynccontextmanager
async def desk(tmp_path: Path, **options: Any) -> AsyncIterator[Desk]:
    """A rig with the operators' API over its queue; who asks is an operator."""
    async with rig(tmp_path, **options) as at, served(_operations(at), PEOPLE["olga"]) as url:
        yield Desk(url, at)


def _operations(at: Rig) -> Any:
    """The operators' API over the queue of a rig."""

    async def admit(graph: Any, who: Any) -> None:
        if who.id in at.refused:
            raise at.refused[who.id]

    async def fleet() -> list[Target]:
        return [Target(url, token or None) for url, token in await at.queue.fleet.addresses()]

    return ops.build(Backends([], read=fleet), None, ops.AtWork(at.queue, admit))


async def until(holds: Any) -> Any:
    async with asyncio.timeout(30):
        while True:
            if found := await holds():
                return found
            await asyncio.sleep(0.05)


async def test_a_paused_queue_takes_jobs_and_begins_them_when_it_goes_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        assert (await found.good("POST", "/queue/pause"))["paused"] is True
        job = await found.rig.submit()
        await until(lambda: _state(found, "up"))
        stats = await found.good("GET", "/queue")
        assert stats["jobs"]["waiting"] == 1 and stats["backends"] == {"up": 1}
        assert (await found.good("POST", "/queue/resume"))["paused"] is False
        assert (await found.rig.done(job["id"]))["status"] == "succeeded"


async def _state(found: Desk, state: str) -> bool:
    return [row["state"] for row in (await found.good("GET", "/fleet"))["backends"]] == [state]


async def test_a_backend_is_drained_resumed_tested_and_removed(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await until(lambda: _state(found, "up"))
        (row,) = (await found.good("GET", "/fleet"))["backends"]
        place = f"/fleet/{row['name']}"
        drained = await found.good("POST", f"{place}/drain", {"reason": "new driver"})
        assert (drained["state"], drained["reason"]) == ("drained", "new driver")
        (seen,) = (await found.good("GET", "/backends"))["backends"]
        assert seen["state"] == "ok", "it answers, though it takes no jobs"
        assert (seen["fleet"]["state"], seen["fleet"]["reason"]) == ("drained", "new driver")
        assert (await found.good("POST", f"{place}/pause", {}))["state"] == "paused"
        await found.good("POST", f"{place}/resume")
        await until(lambda: _state(found, "up"))
        tested = await found.good("POST", f"{place}/test", {})
        assert tested["good"] and tested["canary"] == "made" and tested["version"] and tested["why"] == ""
        await found.good("POST", f"{place}/remove")
        assert (await found.good("GET", "/fleet"))["backends"] == []
        await found.refused(404, "unknown_backend", "POST", f"{place}/drain", {})


async def test_a_backend_that_is_added_takes_jobs_and_is_named_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.good("POST", "/fleet", {"url": "http://127.0.0.1:9", "name": "gone", "tags": ["b", "a"]})
        (gone,) = [row for row in (await found.good("GET", "/fleet"))["backends"] if row["name"] == "gone"]
        assert gone["tags"] == ["a", "b"]
        tested = await found.good("POST", "/fleet/gone/test", {})
        assert (tested["good"], tested["answers"], tested["canary"]) == (False, False, "left out") and tested["why"]
        await found.refused(400, "usage", "POST", "/fleet", {"url": "http://127.0.0.1:9", "name": "other"})
        await found.refused(400, "usage", "POST", "/fleet", {"url": "nonsense://"})
        await found.refused(422, "invalid_request", "POST", "/fleet/gone/test", {"seconds": -1})


async def test_a_backend_that_answers_and_draws_nothing_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path, dispatch=False, faults=Faults(dead_worker=True)) as found:
        (row,) = (await found.good("GET", "/fleet"))["backends"]
        tested = await found.good("POST", f"/fleet/{row['name']}/test", {"seconds": 0.5})
        assert (tested["good"], tested["answers"], tested["canary"]) == (False, True, "failed")
        assert "0.5 s" in tested["why"]


async def test_quotas_are_set_listed_and_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path, dispatch=False) as found:
        await found.good("POST", "/quotas", {"owner": "ann", "max_waiting": 1, "weight": 2.0})
        (quota,) = (await found.good("GET", "/quotas"))["quotas"]
        assert quota == {"owner": "ann", "max_running": None, "max_waiting": 1, "weight": 2.0}
        await found.rig.submit()
        status, body, _ = await found.rig.ask("POST", "/jobs", json={"workflow": picture(2)})
        assert (status, body["error"]["code"]) == (429, "queue_full")
        await found.good("POST", "/quotas/remove", {"owner": "ann"})
        assert (await found.good("GET", "/quotas"))["quotas"] == []
        await found.refused(422, "invalid_request", "POST", "/quotas", {"owner": "ann", "max_running": -1})


async def test_a_schedule_is_the_operators_own_and_its_job_is_judged_first(tmp_path: Path) -> None:
    plan = {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Paris", "job": {"workflow": picture()}}
    async with desk(tmp_path, dispatch=False) as found:
        added = await found.good("POST", "/schedules", plan)
        assert (added["owner"], added["paused"]) == ("olga", False) and added["next_at"] > 0
        await found.good("POST", "/schedules/nightly/pause", {})
        (listed,) = (await found.good("GET", "/schedules"))["schedules"]
        assert listed["paused"] is True
        await found.good("POST", "/schedules/nightly/remove")
        assert (await found.good("GET", "/schedules"))["schedules"] == []
        await found.refused(400, "schedule", "POST", "/schedules/nightly/remove")
        await found.refused(400, "schedule", "POST", "/schedules", {**plan, "cron": "every night"})
        await found.refused(422, "invalid_workflow", "POST", "/schedules", {**plan, "job": {"workflow": {}}})


async def test_who_operates_but_may_submit_no_job_schedules_none(tmp_path: Path) -> None:
    async with desk(tmp_path, dispatch=False) as found:
        only = replace(PEOPLE["olga"], scopes=frozenset({scopes.SERVER_OPERATE}))
        async with served(_operations(found.rig), only) as url:
            plan = {"name": "nightly", "cron": "0 3 * * *", "job": {"workflow": picture()}}
            at = Desk(url, found.rig)
            assert "jobs:write" in await at.refused(403, "forbidden", "POST", "/schedules", plan)
            assert (await at.good("GET", "/schedules"))["schedules"] == []


async def test_messages_to_webhooks_are_listed_and_sent_once_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        job = await found.rig.submit(webhook_url="http://127.0.0.1:9/hook")
        await found.rig.done(job["id"])
        (message,) = (await found.good("GET", f"/webhooks?job={job['id']}"))["messages"]
        assert (message["type"], message["url"]) == ("job.completed", "http://127.0.0.1:9/hook")
        again = await found.good("POST", f"/webhooks/{message['id']}/replay")
        assert (again["state"], again["attempts"]) == ("waiting", 0)
        await found.refused(404, "unknown_job", "POST", "/webhooks/msg_none/replay")


@pytest.mark.parametrize("part", ["queue", "fleet", "quotas", "schedules", "webhooks"])
async def test_without_a_queue_that_is_said(part: str) -> None:
    api = ops.build(Backends([]), None)
    async with (
        served(api, PEOPLE["olga"]) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/ops/{part}") as answer,
    ):
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (409, "unsupported") and "--pass-through" in error["hint"]
