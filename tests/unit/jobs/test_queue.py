"""What the queue promises before anything runs: accepting, keys, quotas, dependencies, changes, pages, events."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from comfyops.errors import (
    DependencyError,
    DuplicateKeyError,
    JobStateError,
    NoBackendError,
    QueueFullError,
    UiFormatError,
    UnknownBackendError,
    UnknownJobError,
    UsageError,
    WaitTimeoutError,
    WorkflowFormatError,
)
from comfyops.jobs.job import Filter, JobState, Submission
from comfyops.jobs.queue import Queue
from comfyops.jobs.quotas import Quota
from comfyops.testing import graphs
from comfyops.workflows import api_format


def picture(**options: object) -> Submission:
    return Submission(api_format.dump(graphs.picture()), **options)  # type: ignore[arg-type]


async def test_an_accepted_job_is_there_for_its_owner_alone_after_the_queue_opens_again(queue: Queue) -> None:
    given = picture(name="one", tags=("a", "b"), extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})
    job = (await queue.submit(given, "anna")).job
    async with Queue(queue.database, queue.folder) as again:
        found = await again.get(job.id, "anna")
        assert found == job and found.graph == given.graph and found.state is JobState.WAITING
        assert (found.name, found.tags, found.extra_data) == ("one", ("a", "b"), given.extra_data)
        with pytest.raises(UnknownJobError):
            await again.get(job.id, "bert")
        with pytest.raises(UnknownJobError):
            await again.get(str(uuid4()))


async def test_a_key_gives_the_first_answer_again_and_no_other_request_may_use_it(queue: Queue) -> None:
    given = picture(idempotency_key="k")
    first = await queue.submit(given, "anna")
    again = await queue.submit(given, "anna")
    assert (first.replayed, again.replayed) == (False, True) and again.job.id == first.job.id
    with pytest.raises(DuplicateKeyError):
        await queue.submit(picture(idempotency_key="k"), "anna")
    assert not (await queue.submit(given, "bert")).replayed
    assert (await queue.stats())["waiting"] == 2


async def test_of_many_submissions_with_one_key_at_once_one_makes_a_job(queue: Queue) -> None:
    given = picture(idempotency_key="k")
    answers = await asyncio.gather(*(queue.submit(given, "anna") for _ in range(20)))
    assert len({answer.job.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1


async def test_a_chosen_id_is_taken_once(queue: Queue) -> None:
    chosen = str(uuid4())
    assert (await queue.submit(picture(id=chosen), "anna")).job.id == chosen
    with pytest.raises(UsageError, match="another job"):
        await queue.submit(picture(id=chosen), "anna")
    with pytest.raises(UsageError, match="UUID"):
        await queue.submit(picture(id="NO-UUID"), "anna")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Submission({}), None),
        (Submission({"nodes": [], "links": []}), UiFormatError),
        (Submission({"1": 3}), WorkflowFormatError),
        (replace(picture(), priority=10**7), UsageError),
        (replace(picture(), delay=-1), UsageError),
        (replace(picture(), delay=float("nan")), UsageError),
        (replace(picture(), deadline=float("inf")), UsageError),
        (replace(picture(), name="x" * 5000), UsageError),
        (replace(picture(), name="a\x00b"), UsageError),
        (replace(picture(), depends_on=("nothing",)), UsageError),
        (Submission({"1": {"class_type": "LoadImage", "inputs": {"image": {"$output": {}}}}}), UsageError),
        (Submission({"1": {"class_type": "LoadImage", "inputs": {"image": {"$asset": ""}}}}), UsageError),
    ],
)
async def test_submissions_that_make_no_sense_are_refused_and_leave_nothing(
    queue: Queue, wrong: Submission, error: type[Exception] | None
) -> None:
    if error is None:
        await queue.submit(wrong, "anna")  # a server refuses an empty graph, and says so better
        return
    with pytest.raises(error):
        await queue.submit(wrong, "anna")
    assert (await queue.stats())["waiting"] == 0


async def test_a_full_queue_refuses_with_the_time_to_wait(queue: Queue) -> None:
    await queue.quotas.set(Quota("anna", max_waiting=2))
    await queue.submit(picture(), "anna")
    await queue.submit(picture(), "anna")
    with pytest.raises(QueueFullError) as caught:
        await queue.submit(picture(), "anna")
    assert caught.value.facts["retry_after"] > 0
    with pytest.raises(QueueFullError):
        await queue.submit_batch([picture()], "anna")
    await queue.submit(picture(), "bert")
    await queue.quotas.remove("anna")
    await queue.submit(picture(), "anna")


async def test_a_batch_is_accepted_whole_or_not_at_all(queue: Queue) -> None:
    batch = await queue.submit_batch([picture(name=str(i)) for i in range(3)], "anna", name="b", idempotency_key="k")
    assert [(await queue.get(job)).name for job in batch.jobs] == ["0", "1", "2"]
    assert batch.states == {JobState.WAITING: 3} and not batch.over
    assert (await queue.batch(batch.id, "anna")).jobs == batch.jobs
    with pytest.raises(UnknownJobError):
        await queue.batch(batch.id, "bert")
    missing = picture(depends_on=(str(uuid4()),))
    with pytest.raises(UnknownJobError):
        await queue.submit_batch([picture(), missing], "anna")
    with pytest.raises(UsageError):
        await queue.submit_batch([], "anna")
    with pytest.raises(DuplicateKeyError):
        await queue.submit(picture(idempotency_key="k"), "anna")
    assert (await queue.stats())["waiting"] == 3


async def test_a_failed_dependency_fails_those_that_wait_for_it(queue: Queue) -> None:
    first = (await queue.submit(picture(), "anna")).job
    second = (await queue.submit(picture(depends_on=(first.id,)), "anna")).job
    third = (await queue.submit(picture(depends_on=(second.id,)), "anna")).job
    assert (await queue.explain(third.id)).waits_for == (second.id,)
    await queue.cancel(first.id, "anna")
    found = await queue.get(third.id)
    assert found.state is JobState.FAILED and found.error is not None and found.error.code == "dependency"
    with pytest.raises(DependencyError):
        await queue.submit(picture(depends_on=(first.id,)), "anna")
    with pytest.raises(DependencyError):
        await queue.retry(third.id)
    with pytest.raises(UnknownJobError):
        await queue.submit(picture(depends_on=(first.id,)), "bert")


async def test_cancel_retry_priority_and_forgetting_follow_the_state(queue: Queue) -> None:
    job = (await queue.submit(picture(), "anna")).job
    assert (await queue.set_priority(job.id, -5, "anna")).priority == -5
    for refused in (queue.retry(job.id), queue.delete(job.id)):
        with pytest.raises(JobStateError):
            await refused
    assert (await queue.cancel(job.id, "anna")).state is JobState.CANCELLED
    assert (await queue.cancel(job.id, "anna")).state is JobState.CANCELLED
    with pytest.raises(JobStateError):
        await queue.set_priority(job.id, 1)
    assert (await queue.retry(job.id, "anna")).state is JobState.WAITING
    await queue.cancel(job.id)
    await queue.delete(job.id, "anna")
    with pytest.raises(UnknownJobError):
        await queue.get(job.id)


async def test_pages_follow_one_another_without_gap_or_repeat(queue: Queue) -> None:
    jobs = [(await queue.submit(picture(tags=("x",) if i % 2 else ()), "anna")).job.id for i in range(7)]
    await queue.submit(picture(), "bert")
    for oldest_first in (False, True):
        found, cursor = [], None
        while True:
            page = await queue.ls(Filter(owner="anna", limit=3, oldest_first=oldest_first), cursor)
            found += [job.id for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == (jobs if oldest_first else jobs[::-1])
    tagged = await queue.ls(Filter(tags=("x",)))
    assert {job.id for job in tagged.jobs} == set(jobs[1::2]) and tagged.jobs[0].graph is None
    assert (await queue.ls(Filter(states=(JobState.DONE,)))).jobs == ()
    for wrong in ("", "zzz", "bjE=", "%"):
        with pytest.raises(UsageError):
            await queue.ls(Filter(), wrong)


async def test_events_come_live_and_again_from_the_record(queue: Queue) -> None:
    job = (await queue.submit(picture(), "anna")).job

    async def watch() -> list[object]:
        return [event async for event in queue.events(job.id, "anna")]

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await queue.cancel(job.id)
    live = await asyncio.wait_for(watching, 30)
    assert [event.data["state"] for event in live] == ["waiting", "cancelled"]  # type: ignore[attr-defined]
    assert await watch() == live
    assert [event async for event in queue.events(job.id, after=1)] == live[1:]


async def test_waiting_gives_up_in_time(queue: Queue) -> None:
    job = (await queue.submit(picture(), "anna")).job
    with pytest.raises(WaitTimeoutError):
        await queue.wait(job.id, timeout=0.05)


async def test_a_queue_hears_at_once_what_another_process_wrote(queue: Queue) -> None:
    job = (await queue.submit(picture(), "anna")).job
    async with Queue(queue.database, queue.folder) as other:
        waiting = asyncio.create_task(other.wait(job.id, timeout=30))
        await asyncio.sleep(0)
        await queue.cancel(job.id)
        assert (await waiting).state is JobState.CANCELLED


async def test_pausing_is_remembered(queue: Queue) -> None:
    assert not await queue.paused()
    await queue.pause()
    async with Queue(queue.database, queue.folder) as again:
        assert await again.paused()
    await queue.resume()
    assert not await queue.paused()


async def test_backends_are_added_drained_resumed_and_removed(queue: Queue) -> None:
    added = await queue.fleet.add("127.0.0.1:9/", name="gpu-1", tags=("big",))
    assert (added.id, added.url, added.tags, added.state) == ("gpu-1", "http://127.0.0.1:9", ("big",), "new")
    assert (await queue.fleet.add("http://127.0.0.1:10")).id == "127.0.0.1:10"
    again = await queue.fleet.add("http://127.0.0.1:9")
    assert (again.id, again.tags) == ("gpu-1", ("big",))
    assert (await queue.fleet.add("http://127.0.0.1:9", name="gpu-1", tags=("small",))).tags == ("small",)
    assert (await queue.fleet.drain("gpu-1", reason="cleaning")).reason == "cleaning"
    assert (await queue.fleet.pause("gpu-1")).state == "paused"
    assert (await queue.fleet.resume("gpu-1")).state == "new"
    with pytest.raises(UsageError, match="Another backend"):
        await queue.fleet.add("http://127.0.0.1:9", name="gpu-2")
    for wrong in ({"url": "ftp://x"}, {"url": "http://127.0.0.1:1", "name": "../x"}):
        with pytest.raises(UsageError):
            await queue.fleet.add(**wrong)
    await queue.fleet.remove("gpu-1")
    with pytest.raises(UnknownBackendError):
        await queue.fleet.drain("gpu-1")
    assert [backend.id for backend in await queue.fleet.ls()] == ["127.0.0.1:10"]


async def test_a_job_that_no_backend_can_ever_run_is_refused_at_once(queue: Queue) -> None:
    from comfyops.jobs import rows, schema
    from comfyops.jobs.offers import Offer

    await queue.fleet.add("http://127.0.0.1:9", name="small")
    await queue.submit(picture(), "anna")  # nobody knows yet what it offers
    offer = Offer(classes=frozenset(["EmptyImage"]))
    values = {"offer": rows.dump(offer.as_dict()), "offer_key": offer.key}
    await queue.store.write(lambda tx: tx.execute(schema.backends.update().values(**values)))
    with pytest.raises(NoBackendError) as caught:
        await queue.submit(picture(), "anna")
    assert "small" in caught.value.facts["reasons"][0] and "SaveImage" in caught.value.facts["reasons"][0]
