"""What is looked up again and again costs no more after a million jobs than after ten: no statement reads them all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.job import ACTIVE, Filter, JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format

GRAPH = api_format.dump(graphs.picture())


@pytest.fixture
def heard() -> dict[str, Any]:
    """Statements that were carried out, with values."""
    return {}


async def plans(queue: Queue, heard: dict[str, Any]) -> dict[str, list[str]]:
    """How SQLite goes about each statement."""

    def explained(connection: Any) -> dict[str, list[str]]:
        raw = connection.connection.driver_connection
        reading = [words for words in heard if words.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))]
        return {
            words: [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {words}", heard[words])] for words in reading
        }

    return await queue.store.read(explained)


async def test_no_statement_goes_through_all_jobs(tmp_path: Path, heard: dict[str, Any]) -> None:
    queue = await asyncio.to_thread(Queue, "", tmp_path)
    listen = queue.store.engine

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        heard[statement] = parameters[0] if many else parameters

    async with queue, Simulator(SimulatorSettings(port=0)) as simulator:
        event.listen(listen, "before_cursor_execute", note)
        await queue.fleet.add(simulator.url)
        async with Dispatcher(queue, "test"):
            job = (await queue.submit(Submission(GRAPH, client_id="page"), "ann")).job.id
            await queue.wait(job, timeout=20)
        later = (await queue.submit(Submission(GRAPH), "ann")).job.id
        for owner in (None, "ann"):
            await queue.in_queue(owner)
            await queue.under_way(owner)
            await queue.stats(owner)
            await queue.sent(owner)
        for states in ((JobState.WAITING,), ACTIVE, (JobState.DONE, JobState.FAILED)):
            await queue.ls(Filter(owner="ann", states=states))
        await queue.request_cancel(later)
        event.remove(listen, "before_cursor_execute", note)
        found = await plans(queue, heard)
    assert len(found) > 20
    assert not [words for words, plan in found.items() if "SCAN jobs" in plan]
    by_number = [
        words for words, plan in found.items() if "SEARCH jobs USING INDEX ix_jobs_owner_number (owner=?)" in plan
    ]
    assert by_number and all("'done'" in words for words in by_number)  # of those that are over, the newest are wanted
