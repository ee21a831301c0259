"""What must hold after jobs went through kills, freezes and cuts: none lost, none done twice in effect, none stuck."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from blake3 import blake3
from PIL import Image
from sqlalchemy import select

from comfyops.jobs import schema
from comfyops.jobs.job import Filter, Job, JobState
from comfyops.jobs.queue import Queue
from tests.chaos.job_world import color

WHITE = 0xFFFFFF

_Line = tuple[str, str, str]


async def all_jobs(queue: Queue) -> list[Job]:
    """Every job."""
    page = await queue.ls(Filter(limit=1000, oldest_first=True))
    jobs = list(page.jobs)
    while page.cursor:
        page = await queue.ls(Filter(limit=1000, oldest_first=True), page.cursor)
        jobs += page.jobs
    return jobs


async def all_over(queue: Queue) -> bool:
    """Whether no job is left to do."""
    stats = await queue.stats()
    return not any(stats[state.value] for state in JobState if not state.over)


async def check_exactly_once(
    queue: Queue, count: int, records: Mapping[str, Path], accepted: Sequence[str] | None = None
) -> None:
    """Assert that each job is done, once in effect, with the file that it alone makes, whole.

    `records` are what the servers recorded, by their addresses. `accepted` are the ids that clients were given: they
    are all the jobs that there are.
    """
    jobs = await all_jobs(queue)
    assert [(job.name, job.state, job.error) for job in jobs if job.state is not JobState.DONE] == []
    assert len(jobs) == count == len({job.name for job in jobs})
    assert accepted is None or sorted(accepted) == sorted(job.id for job in jobs)
    for job in jobs:
        await _check_outputs(queue, job)
    await _check_runs(queue, jobs, {url: _read(record) for url, record in records.items()})


async def _check_outputs(queue: Queue, job: Job) -> None:
    """One picture, of this job's own colour, with the bytes that its hashes say."""
    (output,) = await queue.outputs(job.id)
    assert output.filename.startswith(f"job-{job.name}_"), (job, output)
    path = queue.files.path(output.hash)
    data = path.read_bytes()
    known = select(schema.assets.c.sha256, schema.assets.c.size).where(schema.assets.c.hash == output.hash)
    asset = await queue.store.read(lambda connection: connection.execute(known).one())
    assert (blake3(data).hexdigest(), len(data)) == (output.hash, output.size)
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (asset.sha256, asset.size)
    with Image.open(path) as picture:
        seen = picture.convert("RGB").getpixel((0, 0))
    wanted = (WHITE - color(int(job.name or ""))).to_bytes(3)
    assert all(abs(one - other) <= 1 for one, other in zip(seen, wanted, strict=True)), (job, seen)  # type: ignore[arg-type]


async def _check_runs(queue: Queue, jobs: Sequence[Job], records: Mapping[str, Sequence[_Line]]) -> None:
    """Each attempt ran at its own backend, at most once while that lived; one attempt of each job counts, the last."""
    places = {row.id: row.url for row in await queue.fleet.ls()}
    where: dict[str, str] = {}
    for job in jobs:
        attempts = await queue.attempts(job.id)
        assert [attempt.outcome for attempt in attempts].count("done") == 1, (job, attempts)
        assert attempts[-1].outcome == "done" and attempts[-1].number == job.attempt, (job, attempts)
        assert any(line[1:] == (attempts[-1].prompt_id, "end") for line in records[places[attempts[-1].backend]])
        where.update({attempt.prompt_id: places[attempt.backend] for attempt in attempts})
    for url, record in records.items():
        begun = Counter((server, run) for server, run, event in record if event == "begin" and run in where)
        assert {key: times for key, times in begun.items() if times > 1} == {}
        assert {run for _, run in begun if where[run] != url} == set()


def _read(record: Path) -> list[_Line]:
    """Server, run and event of each line."""
    lines = map(json.loads, record.read_text().splitlines()) if record.exists() else ()
    return [(line["server"], line["run"], line["event"]) for line in lines]
