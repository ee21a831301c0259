"""What time does to jobs: schedules, deadlines, what is kept for how long, leases that run out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from comfyops.errors import DispatcherTakenError, MissingFileError, ScheduleError, UnknownJobError, WorkflowFormatError
from comfyops.jobs import asset_records, retention, schedules, schema, steps, transitions
from comfyops.jobs.job import Filter, JobState, Submission
from comfyops.jobs.leases import Leases
from comfyops.jobs.queue import Queue
from comfyops.jobs.retention import Keep
from comfyops.jobs.schedules import Schedule, Schedules, next_time
from comfyops.testing import graphs
from comfyops.workflows import api_format

START = datetime(2026, 3, 2, 10, 30, tzinfo=UTC).timestamp()
DAY = 86_400.0


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(clock: Clock, tmp_path: Path) -> AsyncIterator[Queue]:
    """An empty queue that goes by the clock."""
    async with Queue("", tmp_path / "queue", clock=clock) as queue:
        yield queue


def picture(**options: object) -> Submission:
    return Submission(api_format.dump(graphs.picture()), **options)  # type: ignore[arg-type]


def nightly(**options: object) -> Schedule:
    return Schedule("nightly", "anna", "0 3 * * *", picture(name="x", tags=("t",)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 3 * * *", "UTC", "2026-03-02T10:30+00:00", "2026-03-03T03:00+00:00"),
        ("0 3 * * *", "Europe/Paris", "2026-03-02T10:30+00:00", "2026-03-03T02:00+00:00"),
        ("*/15 * * * *", "UTC", "2026-03-02T10:30+00:00", "2026-03-02T10:45+00:00"),
        ("0 12 * * 0", "America/New_York", "2026-03-02T10:30+00:00", "2026-03-08T16:00+00:00"),
    ],
)
def test_the_next_time_is_by_the_clock_of_the_time_zone(cron: str, zone: str, after: str, expected: str) -> None:
    found = next_time(cron, zone, datetime.fromisoformat(after).timestamp())
    assert datetime.fromtimestamp(found, UTC) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cron": "every day"},
        {"cron": "0 3 * * * *"},
        {"cron": "99 3 * * *"},
        {"timezone": "Europe/Nowhere"},
        {"timezone": "../etc/passwd"},
        {"misfire": "always"},
        {"name": ""},
    ],
)
async def test_schedules_that_make_no_sense_are_refused(queue: Queue, wrong: dict[str, str]) -> None:
    with pytest.raises(ScheduleError):
        await Schedules(queue).add(
            Schedule(**{"name": "n", "owner": "a", "cron": "0 3 * * *", "submission": picture(), **wrong})
        )
    with pytest.raises(WorkflowFormatError):
        await Schedules(queue).add(Schedule("n", "a", "0 3 * * *", Submission({"1": 2})))
    assert await Schedules(queue).ls() == ()


async def test_each_time_of_a_schedule_submits_once(queue: Queue, clock: Clock) -> None:
    await Schedules(queue).add(nightly())
    await schedules.submit_due(queue)
    assert (await queue.ls()).jobs == ()
    for day in (1, 2):
        clock.now = START + day * DAY
        await schedules.submit_due(queue)
        await schedules.submit_due(queue)
        found = (await queue.ls(Filter(owner="anna"))).jobs
        assert len(found) == day and found[0].tags == ("t",)
    (schedule,) = await Schedules(queue).ls("anna")
    assert schedule.last_job == found[0].id and schedule.next_at > clock.now


@pytest.mark.parametrize(("misfire", "jobs"), [("once", 1), ("skip", 0)])
async def test_times_at_which_nobody_was_there_follow_the_rule(
    queue: Queue, clock: Clock, misfire: str, jobs: int
) -> None:
    await Schedules(queue).add(nightly(misfire=misfire))
    clock.now = START + 5 * DAY
    await schedules.submit_due(queue)
    assert len((await queue.ls()).jobs) == jobs


async def test_a_paused_or_removed_schedule_submits_nothing(queue: Queue, clock: Clock) -> None:
    known = Schedules(queue)
    await known.add(nightly())
    await known.pause("nightly", owner="anna")
    clock.now = START + DAY
    await schedules.submit_due(queue)
    with pytest.raises(ScheduleError):
        await known.remove("nightly", owner="bert")
    with pytest.raises(ScheduleError):
        await known.add(Schedule("nightly", "bert", "0 3 * * *", picture()))
    await known.remove("nightly", owner="anna")
    await schedules.submit_due(queue)
    assert (await queue.ls()).jobs == () == await known.ls()


async def test_a_waiting_job_expires_at_its_deadline(queue: Queue, clock: Clock) -> None:
    job = (await queue.submit(picture(deadline=START + 60), "anna")).job
    await queue.store.write(retention.expire)
    assert (await queue.get(job.id)).state is JobState.WAITING
    clock.now += 61
    await queue.store.write(retention.expire)
    found = await queue.get(job.id)
    assert found.state is JobState.EXPIRED and found.error is not None and found.error.code == "deadline"


async def test_old_jobs_go_with_their_files_and_what_is_needed_stays(queue: Queue, clock: Clock) -> None:
    keep = Keep(jobs=10 * DAY, files=20 * DAY, keys=DAY)
    job = (await queue.submit(picture(idempotency_key="k"), "anna")).job
    other = (await queue.submit(picture(), "anna")).job
    await queue.cancel(job.id)
    path = queue.files.incoming()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"bytes of an output")
    kept = await queue.files.keep(path)
    await queue.store.write(lambda tx: asset_records.keep_assets(tx, [(kept, "image/png")]))
    clock.now += 11 * DAY
    assert await retention.sweep(queue, keep) == []
    with pytest.raises(UnknownJobError):
        await queue.get(job.id)
    assert (await queue.get(other.id)).state is JobState.WAITING
    assert queue.files.has(kept.hash)
    assert not (await queue.submit(picture(idempotency_key="k"), "anna")).replayed
    clock.now += 11 * DAY
    await retention.sweep(queue, keep)
    with pytest.raises(MissingFileError):
        queue.files.path(kept.hash)


async def test_no_state_follows_one_that_it_must_not_follow(queue: Queue) -> None:
    job = (await queue.submit(picture(), "anna")).job
    for state in (JobState.RUNNING, JobState.STORING, JobState.DONE):
        assert await queue.store.write(lambda tx, state=state: transitions.move(tx, job.id, state)) is None
    await queue.cancel(job.id)
    for state in JobState:
        if state is not JobState.WAITING:
            assert await queue.store.write(lambda tx, state=state: transitions.move(tx, job.id, state)) is None
    assert [event.seq async for event in queue.events(job.id)] == [1, 2]


async def test_a_name_is_refused_while_its_holder_gives_signs_and_free_once_it_does_not(
    queue: Queue, clock: Clock
) -> None:
    first, second = Leases("w", 10), Leases("w", 10)
    assert await queue.store.write(first.enter) is None
    seen = await queue.store.write(second.enter)
    assert seen == clock.now
    clock.now += 1
    await queue.store.write(first.beat)
    with pytest.raises(DispatcherTakenError):
        await queue.store.write(lambda tx: second.enter(tx, seen))
    clock.now += 11
    assert await queue.store.write(second.enter) is None
    assert (await queue.store.write(first.beat)).lost


async def test_backends_are_shared_out_among_those_who_live(queue: Queue, clock: Clock) -> None:
    for number in range(4):
        await queue.fleet.add(f"http://127.0.0.1:{number + 1}", name=f"b{number}")
    one, two = Leases("one", 10), Leases("two", 10)
    await queue.store.write(one.enter)
    assert len((await queue.store.write(one.beat)).backends) == 4
    await queue.store.write(two.enter)
    await queue.store.write(two.beat)
    assert len((await queue.store.write(one.beat)).backends) == 2
    found = await queue.store.write(two.beat)
    assert len(found.backends) == 2 and found.living == ("one", "two")
    clock.now += 11  # "one" is silent
    found = await queue.store.write(two.beat)
    assert len(found.backends) == 4 and found.living == ("two",)
    await queue.store.write(two.leave)
    assert {backend.dispatcher for backend in await queue.fleet.ls()} == {None}


async def test_a_clock_that_was_set_back_neither_keeps_the_dead_alive_nor_holds_jobs_back(
    queue: Queue, clock: Clock
) -> None:
    await queue.fleet.add("http://127.0.0.1:1", name="b")
    dead, living = Leases("dead", 10), Leases("living", 10)
    await queue.store.write(dead.enter)
    await queue.store.write(dead.beat)
    clock.now -= DAY
    await queue.store.write(living.enter)
    found = await queue.store.write(living.beat)
    assert found.living == ("living",) and found.backends == ("b",)
    job = (await queue.submit(picture(), "anna")).job
    later = {"not_before": clock.now + DAY, "failures": 1}
    await queue.store.write(lambda tx: tx.execute(schema.jobs.update().values(**later)))
    due = select(schema.jobs.c.id).where(steps.is_due(clock.now))
    assert await queue.store.read(lambda connection: connection.execute(due).scalars().all()) == [job.id]
    pause = {"not_before": clock.now + 60}
    await queue.store.write(lambda tx: tx.execute(schema.jobs.update().values(**pause)))
    assert await queue.store.read(lambda connection: connection.execute(due).scalars().all()) == []
