"""A disk without space for what a job made: the job waits in `storing`, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from comfyops.errors import DatabaseError, DiskFullError
from comfyops.jobs.dispatcher import Dispatcher, DispatcherSettings
from comfyops.jobs.job import JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.chaos.job_checks import all_over, check_exactly_once
from tests.chaos.job_world import until, work
from tests.chaos.test_disk_full import disk as disk
from tests.chaos.test_disk_full import fill


async def test_a_full_disk_keeps_a_job_waiting_until_there_is_space(disk: Path, tmp_path: Path) -> None:
    picture = Submission(api_format.dump(graphs.picture(size=256)))
    async with (
        Simulator(SimulatorSettings(port=0)) as server,
        Queue(f"sqlite:///{tmp_path}/queue.db", disk / "queue") as queue,
        Dispatcher(queue, "one"),
    ):
        await queue.fleet.add(server.url)
        filler = fill(disk, 0)
        job = (await queue.submit(picture, "anna")).job

        async def tried() -> bool:
            return (await queue.get(job.id)).state is JobState.STORING

        await until(tried)
        await asyncio.sleep(0.3)
        assert await tried() and await queue.outputs(job.id) == ()
        filler.unlink()
        done = await queue.wait(job.id, timeout=60)
        assert done.state is JobState.DONE and done.attempt == 1
        (output,) = await queue.outputs(job.id)
        assert queue.files.path(output.hash).stat().st_size == output.size > 0
        other = (await queue.submit(Submission(api_format.dump(graphs.slow(2, size=16))), "anna")).job
        fill(disk, 0)
        await until(lambda: _over_or_storing(queue, other.id))
        assert (await queue.cancel(other.id)).state is JobState.CANCELLED
    assert shutil.disk_usage(disk).free < 4096
    assert not list((disk / "queue" / "incoming").iterdir())


async def test_a_database_without_space_refuses_jobs_and_finishes_those_it_has(disk: Path, tmp_path: Path) -> None:
    record = tmp_path / "runs.jsonl"
    settings = SimulatorSettings(port=0, seconds_per_node=0.3, record=record)
    async with (
        Simulator(settings) as server,
        Queue(f"sqlite:///{disk}/queue/queue.db", disk / "queue") as queue,
        Dispatcher(queue, "one", DispatcherSettings(tidy=0.5)),
    ):
        await queue.fleet.add(server.url)
        await queue.submit_batch([work(number) for number in range(3)], "me")
        await until(lambda: _runs(queue))
        filler = fill(disk, 0)
        with pytest.raises((DiskFullError, DatabaseError)):
            while True:  # what is left of the last page of the file may take some
                await queue.submit(Submission(api_format.dump(graphs.picture(size=16))), "other")
        await until(lambda: _ended(record))
        await asyncio.sleep(1.0)
        filler.unlink()
        await until(lambda: all_over(queue))
        await check_exactly_once(queue, 3, {server.url: record})


async def _runs(queue: Queue) -> bool:
    return (await queue.stats())["running"] > 0


async def _ended(record: Path) -> bool:
    return '"end"' in record.read_text()


async def _over_or_storing(queue: Queue, job: str) -> bool:
    return (await queue.get(job)).state in (JobState.STORING, JobState.DONE)
