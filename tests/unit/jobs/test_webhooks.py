"""Webhooks of jobs: noted with the end of a job, sent by a real request to a real server, until it has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook

from comfyops.errors import UnknownJobError, UsageError
from comfyops.jobs import schema
from comfyops.jobs.job import Job, Submission
from comfyops.jobs.queue import Queue
from comfyops.jobs.webhook_sender import Sender, SenderSettings, after
from comfyops.jobs.webhooks import Webhooks
from comfyops.support.webhooks import DELAYS, Delivery

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}


class Hook:
    """A receiver: what came, and what it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, await request.read()))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/{any:.*}", hook.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield hook
    await runner.cleanup()


def sender(queue: Queue, *, private: bool = True) -> Sender:
    return Sender(queue.store, SenderSettings(allow_private=private, timeout=5.0))


async def cancelled(queue: Queue, url: str) -> Job:
    """A job that is over: it was cancelled while it waited."""
    accepted = await queue.submit(Submission(GRAPH, name="boat", tags=("a",), webhook_url=url), "ann")
    return await queue.cancel(accepted.job.id)


async def due_now(queue: Queue) -> None:
    await queue.store.write(lambda tx: tx.execute(update(schema.deliveries).values(next_at=0.0)))


async def test_the_end_of_a_job_is_told_once_with_a_signature_that_others_can_check(queue: Queue, hook: Hook) -> None:
    job = await cancelled(queue, hook.url)
    mine = sender(queue)
    await mine.send_due()
    await mine.send_due()
    [(headers, body)] = hook.got
    data = Webhook(await mine.secret()).verify(body.decode(), headers)
    assert data["type"] == "job.cancelled"
    assert {key: data["data"][key] for key in ("id", "name", "status", "tags")} == {
        "id": job.id,
        "name": "boat",
        "status": "cancelled",
        "tags": ["a"],
    }
    [told] = await Webhooks(queue.store).ls(job=job.id)
    assert (told.state, told.status, told.attempts) == ("delivered", 200, 1)


async def test_a_job_without_a_webhook_is_told_to_nobody(queue: Queue) -> None:
    await cancelled(queue, "")
    assert await Webhooks(queue.store).ls() == ()


async def test_a_receiver_in_trouble_gets_the_same_message_again_later(queue: Queue, hook: Hook) -> None:
    await cancelled(queue, hook.url)
    hook.status = 503
    assert await sender(queue).send_due() > 1.0
    [told] = await Webhooks(queue.store).ls()
    assert (told.state, told.status, told.attempts, told.reason) == ("waiting", 503, 1, "HTTP 503")
    hook.status = 204
    await due_now(queue)
    await sender(queue).send_due()
    assert [told.state for told in await Webhooks(queue.store).ls()] == ["delivered"]
    first, second = hook.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]


async def test_a_redirect_is_not_followed(queue: Queue, hook: Hook) -> None:
    await cancelled(queue, hook.url)
    hook.status = 307
    await sender(queue).send_due()
    assert len(hook.got) == 1
    assert [told.state for told in await Webhooks(queue.store).ls()] == ["waiting"]


async def test_a_private_address_is_not_asked_unless_that_is_allowed(queue: Queue, hook: Hook) -> None:
    for url in (hook.url, hook.url.replace("http://127.0.0.1", "https://localhost"), "http://10.0.0.1/x"):
        await cancelled(queue, url)
    await sender(queue, private=False).send_due()
    assert hook.got == []
    told = await Webhooks(queue.store).ls()
    assert [item.state for item in told] == ["failed"] * 3
    assert all(item.reason for item in told)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "hook", "https://", "https://ann:pw@host/", "https://a b/"])
async def test_what_is_no_address_is_refused_with_the_job(queue: Queue, url: str) -> None:
    with pytest.raises(UsageError):
        await queue.submit(Submission(GRAPH, webhook_url=url), "ann")


async def test_a_receiver_that_is_gone_ends_the_attempts_and_a_replay_begins_anew(queue: Queue, hook: Hook) -> None:
    await cancelled(queue, hook.url)
    hook.status = 410
    await sender(queue).send_due()
    [told] = await Webhooks(queue.store).ls(state="failed")
    hook.status = 200
    again = await Webhooks(queue.store).replay(told.id)
    assert (again.state, again.attempts) == ("waiting", 0)
    await sender(queue).send_due()
    assert [item.state for item in await Webhooks(queue.store).ls()] == ["delivered"]
    assert hook.got[0][1] == hook.got[1][1]


async def test_a_replay_of_what_is_not_there_is_an_error(queue: Queue) -> None:
    with pytest.raises(UnknownJobError):
        await Webhooks(queue.store).replay("msg_none")


async def test_two_senders_at_once_send_each_message_once(queue: Queue, hook: Hook) -> None:
    for _ in range(40):
        await cancelled(queue, hook.url)
    await asyncio.gather(sender(queue).send_due(), sender(queue).send_due())
    ids = [headers["webhook-id"] for headers, _ in hook.got]
    assert len(ids) == len(set(ids)) == 40
    assert {item.state for item in await Webhooks(queue.store).ls()} == {"delivered"}


async def test_a_message_that_a_dead_sender_took_is_sent_by_another(queue: Queue, hook: Hook) -> None:
    await cancelled(queue, hook.url)
    await queue.store.write(lambda tx: tx.execute(update(schema.deliveries).values(taken_until=tx.now + 1000)))
    await sender(queue).send_due()
    assert hook.got == []
    await queue.store.write(lambda tx: tx.execute(update(schema.deliveries).values(taken_until=tx.now - 1)))
    await sender(queue).send_due()
    assert len(hook.got) == 1


async def test_the_secret_is_made_once_and_kept(queue: Queue) -> None:
    secrets = {await sender(queue).secret() for _ in range(3)}
    assert len(secrets) == 1
    assert next(iter(secrets)).startswith("whsec_")
    given = Sender(queue.store, SenderSettings(secret="whsec_" + "QUJD" * 8))
    assert await given.secret() == "whsec_" + "QUJD" * 8
    with pytest.raises(UsageError):
        Sender(queue.store, SenderSettings(secret="password"))


async def test_a_retried_job_tells_its_second_end_too(queue: Queue, hook: Hook) -> None:
    job = await cancelled(queue, hook.url)
    await queue.retry(job.id)
    await queue.cancel(job.id)
    await sender(queue).send_due()
    assert len({json.loads(body)["data"]["finished_at"] for _, body in hook.got}) == 2


def test_attempts_end_after_the_last_delay() -> None:
    trouble = Delivery(500, "HTTP 500")
    assert [after(trouble, count, 0.5)[0] for count in range(1, len(DELAYS) + 1)] == [
        *["waiting"] * (len(DELAYS) - 1),
        "failed",
    ]
    assert after(trouble, 1, 0.5)[1] == DELAYS[1]
    assert after(Delivery(429, "HTTP 429", retry_after=600.0), 1, 0.5)[1] == 600.0
    assert after(Delivery(200), 1, 0.5) == ("delivered", 0.0, "")
