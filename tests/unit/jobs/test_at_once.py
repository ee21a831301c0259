"""Submissions that come at the same moment are written together, and each has its own answer."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from comfyops.errors import NoBackendError, QueueFullError, UnknownJobError, UsageError
from comfyops.jobs import schema
from comfyops.jobs.job import Accepted, JobState, Submission
from comfyops.jobs.offers import Offer
from comfyops.jobs.queue import Queue
from comfyops.jobs.quotas import Quota
from comfyops.testing import graphs
from comfyops.workflows import api_format


def picture(**options: object) -> Submission:
    return Submission(api_format.dump(graphs.picture()), **options)  # type: ignore[arg-type]


async def test_each_of_many_at_once_has_its_own_answer(queue: Queue) -> None:
    chosen, first = str(uuid4()), (await queue.submit(picture(), "anna")).job.id
    named = [picture(name=str(number)) for number in range(30)]
    odd = [picture(id=chosen), picture(id=chosen), picture(depends_on=(str(uuid4()),)), picture(depends_on=(first,))]
    odd += [picture(idempotency_key="k", name="k")] * 2
    given = [*named[:15], *odd, *named[15:]]
    answers = await asyncio.gather(*(queue.submit(item, "anna") for item in given), return_exceptions=True)
    jobs = [answer.job for answer in answers if isinstance(answer, Accepted)]
    failed = [type(answer) for answer in answers if isinstance(answer, BaseException)]
    assert sorted(failed, key=str) == sorted([UnknownJobError, UsageError], key=str)
    assert len({job.id for job in jobs}) == len(jobs) - 1  # one key, one job
    assert len({job.number for job in jobs}) == len(jobs) - 1
    assert [answer.job.name for answer in answers[:15] if isinstance(answer, Accepted)] == [i.name for i in named[:15]]
    for job in jobs:
        assert await queue.get(job.id) == job
        assert [event.data["state"] for event in await queue.log(job.id)] == ["waiting"]
    assert (await queue.stats())["waiting"] == len(jobs)


async def test_a_quota_holds_for_those_that_come_at_once(queue: Queue) -> None:
    await queue.quotas.set(Quota("anna", max_waiting=5))
    owners = ["anna"] * 20 + ["bert"] * 3
    answers = await asyncio.gather(*(queue.submit(picture(), owner) for owner in owners), return_exceptions=True)
    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert [answer.job.owner for answer in accepted].count("anna") == 5
    assert [answer.job.owner for answer in accepted].count("bert") == 3
    assert [type(answer) for answer in answers].count(QueueFullError) == 15


async def test_jobs_that_nobody_can_run_are_refused_beside_those_that_somebody_can(queue: Queue) -> None:
    graph = graphs.picture()
    classes = frozenset(node.class_type or "" for node in graph)
    await queue.fleet.add("http://127.0.0.1:1", name="one")
    offer = Offer(classes)
    written = schema.backends.update().values(offer=json.dumps(offer.as_dict()), offer_key=offer.key)
    await queue.store.write(lambda tx: tx.execute(written))
    strange = Submission({"1": {"class_type": "Strange", "inputs": {}}})
    given = [picture(), strange, picture(), strange]
    answers = await asyncio.gather(*(queue.submit(item, "anna") for item in given), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Accepted, NoBackendError, Accepted, NoBackendError]


async def test_jobs_of_a_batch_wait_for_those_before_them(queue: Queue) -> None:
    first = str(uuid4())
    batch = await queue.submit_batch([picture(id=first), picture(depends_on=(first,))], "anna")
    second = batch.jobs[1]
    assert (await queue.explain(second)).waits_for == (first,)
    await queue.cancel(first)
    assert (await queue.get(second)).state is JobState.FAILED
    with pytest.raises(UnknownJobError):
        later = str(uuid4())
        await queue.submit_batch([picture(depends_on=(later,)), picture(id=later)], "anna")


async def test_of_a_large_batch_with_an_id_that_is_taken_nothing_is_left(queue: Queue) -> None:
    taken = (await queue.submit(picture(), "anna")).job.id
    jobs = [*(picture() for _ in range(150)), picture(id=taken), picture()]
    with pytest.raises(UsageError, match=taken):
        await queue.submit_batch(jobs, "anna")
    assert (await queue.stats())["waiting"] == 1
    assert len((await queue.submit_batch(jobs[:150], "anna")).jobs) == 150
