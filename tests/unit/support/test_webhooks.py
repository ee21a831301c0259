"""Webhooks: signed, sent once, retried by rule, never into a private network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.resolver import ThreadedResolver
from standardwebhooks.webhooks import Webhook

from comfyops.errors import UsageError
from comfyops.support import webhooks
from comfyops.support.webhooks import Delivery, Message, Receiver

SECRET = webhooks.new_secret()
Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[str]:
    """A server that answers every request so."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


async def test_a_message_is_signed_so_that_others_can_verify_it() -> None:
    seen: list[dict[str, object]] = []

    async def verify(request: web.Request) -> web.Response:
        seen.append(Webhook(SECRET).verify(await request.read(), dict(request.headers)))
        return web.Response(status=204)

    message = Message.new("model.missing", {"model": "vae/ä.safetensors"})
    async with receiver(verify) as url:
        delivery = await webhooks.post(Receiver(url, SECRET, allow_private=True), message)
    assert delivery.ok
    assert seen == [json.loads(message.body)]
    assert seen[0]["type"] == "model.missing"


async def test_two_attempts_carry_one_id_and_a_fresh_time() -> None:
    message = Message.new("a", {})
    first, second = webhooks.headers(message, SECRET, at=1000), webhooks.headers(message, SECRET, at=2000)
    assert first["webhook-id"] == second["webhook-id"] == message.id
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_redirects_are_not_followed() -> None:
    async def away(request: web.Request) -> web.Response:
        assert request.path == "/hook"
        raise web.HTTPFound("/elsewhere")

    async with receiver(away) as url:
        delivery = await webhooks.post(Receiver(url, SECRET, allow_private=True), Message.new("a", {}))
    assert delivery == Delivery(302, "HTTP 302")


async def test_a_receiver_that_says_nothing_is_left() -> None:
    async def sleep(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with receiver(sleep) as url:
        delivery = await webhooks.post(Receiver(url, SECRET, allow_private=True), Message.new("a", {}), timeout=0.2)
    assert (delivery.status, delivery.ok) == (0, False)
    assert "0.2 s" in delivery.why


async def test_an_answer_is_not_unpacked() -> None:
    async def packed(request: web.Request) -> web.Response:
        return web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})

    async with receiver(packed) as url:
        delivery = await webhooks.post(Receiver(url, SECRET, allow_private=True), Message.new("a", {}))
    assert delivery == Delivery(200)


async def test_nobody_there_is_said() -> None:
    delivery = await webhooks.post(Receiver("http://127.0.0.1:9/x", SECRET, allow_private=True), Message.new("a", {}))
    assert not delivery.ok and not delivery.refused and "connection" in delivery.why


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "127.0.0.1", "10.1.2.3", "169.254.169.254", "2130706433", "127.1", "0177.0.0.1", "0"),
        *("[::1]", "[::ffff:10.0.0.1]", "[64:ff9b:1::7f00:1]", "[::ffff:0:127.0.0.1]", "[fec0::1]"),
        *("１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "ｌocalhost", "１６９.254.169.254", "２１３０７０６４３３"),
    ],
)
def test_private_addresses_are_refused_as_they_are_written(name: str) -> None:
    with pytest.raises(UsageError, match="private"):
        Receiver(f"https://{name}/x", SECRET)


async def test_a_name_that_leads_inside_is_refused_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside(
        self: ThreadedResolver, host: str, port: int = 0, family: object = None
    ) -> list[dict[str, object]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 6, "flags": 0}]

    monkeypatch.setattr(ThreadedResolver, "resolve", inside)
    delivery = await webhooks.post(Receiver("https://hooks.example/x", SECRET), Message.new("a", {}))
    assert delivery.refused and "private" in delivery.why
    assert webhooks.retry(delivery, 1).after is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/y",
        "https://",
        "https://user:word@host/",
        "https://ho st/",
        "https://host:99999/",
        "http://a.example",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Receiver(url, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "short", "whsec_c2hvcnQ=", "no base64 at all, but long enough!!"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(UsageError, match="secret"):
        Receiver("https://host.example/", secret)


def test_a_secret_is_not_shown() -> None:
    assert SECRET not in repr(Receiver("https://host.example/", SECRET))


@pytest.mark.parametrize(
    ("delivery", "attempts", "after"),
    [
        (Delivery(204), 1, None),
        (Delivery(410, "HTTP 410"), 1, None),
        (Delivery(500, "HTTP 500"), 1, 5.0),
        (Delivery(400, "HTTP 400"), 2, 300.0),
        (Delivery(0, "no answer"), 9, 86_400.0),
        (Delivery(0, "no answer"), 10, None),
        (Delivery(429, "HTTP 429", retry_after=60.0), 1, 60.0),
        (Delivery(503, "HTTP 503", retry_after=1e9), 1, 86_400.0),
    ],
)
def test_what_comes_after_an_attempt(delivery: Delivery, attempts: int, after: float | None) -> None:
    assert webhooks.retry(delivery, attempts, luck=lambda: 0.5).after == after


def test_waiting_differs_between_messages() -> None:
    failed = Delivery(500, "HTTP 500")
    assert webhooks.retry(failed, 2, luck=lambda: 0.0).after == 270
    assert webhooks.retry(failed, 2, luck=lambda: 1.0).after == pytest.approx(330)
