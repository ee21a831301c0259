"""A disk without space for what a job made: the job waits in `storing`, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from comfyops.jobs.dispatcher import Dispatcher
from comfyops.jobs.job import JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.chaos.job_world import until
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


async def _over_or_storing(queue: Queue, job: str) -> bool:
    return (await queue.get(job)).state in (JobState.STORING, JobState.DONE)
