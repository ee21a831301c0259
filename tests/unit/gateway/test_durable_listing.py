"""GET /queue over the durable queue: never older than the request, whoever wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyops.gateway.durable import listing
from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import DurableHouse, durable_house
from tests.unit.gateway.test_durable_jobs import submit

GRAPH = api_format.dump(graphs.picture())


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[DurableHouse]:
    """Where nothing is carried out."""
    async with durable_house(tmp_path, dispatch=False) as made:
        yield made


async def listed(home: DurableHouse, token: str) -> list[str]:
    """The ids of the jobs that wait, in their order."""
    status, queue = await home.ask("GET", "/queue", token)
    assert status == 200 and queue["queue_running"] == []
    return [entry[1] for entry in queue["queue_pending"]]


async def test_each_change_shows_at_once(still: DurableHouse) -> None:
    boss = still.token("boss", "operator")
    assert await listed(still, boss) == []
    first = await submit(still, boss)
    assert await listed(still, boss) == [first]
    second = await submit(still, boss, front=True)
    assert await listed(still, boss) == await listed(still, boss) == [second, first]
    await still.queue.set_priority(first, -5)
    assert await listed(still, boss) == [first, second]
    assert (await still.ask("POST", "/queue", boss, json={"delete": [first]}))[0] == 200
    assert await listed(still, boss) == [second]


async def test_what_another_process_writes_shows_at_once(still: DurableHouse) -> None:
    boss = still.token("boss", "operator")
    other = await asyncio.to_thread(Queue, still.queue.database, still.queue.folder)
    async with other:
        for count in range(1, 4):
            accepted = await other.submit(Submission(GRAPH), "somebody")
            found = await listed(still, boss)
            assert len(found) == count and found[-1] == accepted.job.id


async def test_owners_have_lists_of_their_own(still: DurableHouse) -> None:
    ann, bob, boss = still.token("ann"), still.token("bob"), still.token("boss", "operator")
    first, second = await submit(still, ann), await submit(still, bob)
    for _ in range(2):
        assert [await listed(still, who) for who in (ann, bob, boss)] == [[first], [second], [first, second]]


async def test_many_ask_while_jobs_come(still: DurableHouse) -> None:
    ann = still.token("ann")

    async def ask(before: list[str]) -> Any:
        found = await listed(still, ann)
        assert found[: len(before)] == before
        return found

    jobs: list[str] = []
    for _ in range(5):
        asking = [asyncio.create_task(ask(list(jobs))) for _ in range(20)]
        jobs.append(await submit(still, ann))
        assert all(found in (jobs, jobs[:-1]) for found in await asyncio.gather(*asking))


def test_a_job_that_two_lists_read_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_REMEMBERED", 1000)
    known = listing._Entries(None)
    for _ in range(20):
        known.put("job", bytes(100))
    known.put("other", bytes(100))
    assert known.get("job") == known.get("other") == bytes(100)


async def test_entries_follow_the_node_types_that_are_known(still: DurableHouse, tmp_path: Path) -> None:
    ann = still.token("ann")
    await submit(still, ann)
    _, queue = await still.ask("GET", "/queue", ann)
    assert queue["queue_pending"][0][4] == []
    async with durable_house(tmp_path / "other", dispatch=True) as home:
        types = home.queue.node_types()
        still.queue.node_types = lambda: types
        _, queue = await still.ask("GET", "/queue", ann)
    assert queue["queue_pending"][0][4] == ["2"]


async def test_the_version_changes_with_every_commit_and_only_then(still: DurableHouse) -> None:
    store = still.queue.store
    before = store.version()
    await still.queue.stats()
    assert store.version() == before
    await still.queue.pause()
    assert store.version() != before


async def test_to_clear_takes_all_that_wait_and_then_all_of_history_and_nothing_of_others(still: DurableHouse) -> None:
    ann, bob = still.token("ann"), still.token("bob")
    kept = await submit(still, bob)
    first = await submit(still, ann)
    owner = (await still.queue.get(first)).owner
    await still.queue.submit_batch([Submission(GRAPH)] * 450, owner)
    assert len(await listed(still, ann)) == 451
    assert (await still.ask("POST", "/queue", ann, json={"clear": True}))[0] == 200
    assert await listed(still, ann) == [] and await listed(still, bob) == [kept]
    assert (await still.queue.stats(owner))["cancelled"] == 451
    assert (await still.ask("POST", "/history", ann, json={"clear": True}))[0] == 200
    assert sum((await still.queue.stats(owner)).values()) == 0
    assert await listed(still, bob) == [kept]
