"""Webhooks by the rules of Standard Webhooks: signed, sent once, and the decision when to send again.

Who keeps messages (a queue, a daemon) calls `post` once per attempt and asks `retry` what to do next; nothing is kept
here. A message keeps its id over all attempts, so that its receiver can tell a second delivery from a second event.
Source: the Standard Webhooks specification (headers `webhook-id`, `webhook-timestamp`, `webhook-signature`).
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from comfyops.errors import MissingExtraError, UsageError
from comfyops.support.addresses import is_public

DELAYS = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each attempt, as the specification suggests; after the last one a message is given up."""

ANSWER_SECONDS = 15.0
"""How long a receiver may take."""

_LONGEST_WAIT = 86_400.0  # seconds of a Retry-After that are believed
_READ = 4096  # bytes of an answer, which nobody needs


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go. `secret` is `whsec_` and base64; `allow_private` lets them go to private and local addresses,
    and by plain http.
    """

    url: str
    secret: str = field(repr=False)
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for an address or a secret that cannot be."""
        _check_url(self.url, allow_private=self.allow_private)
        key_of(self.secret)


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its id (the same for every attempt) and its body."""

    id: str
    body: str

    @classmethod
    def new(cls, kind: str, data: Mapping[str, Any], at: datetime | None = None) -> Message:
        """A message of the form that the specification suggests: {"type", "timestamp", "data"}."""
        moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = json.dumps({"type": kind, "timestamp": moment, "data": data}, ensure_ascii=False)
        return cls(f"msg_{secrets.token_hex(16)}", body)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one attempt. `status` is 0 where no answer came; `why` says in words what was wrong."""

    status: int
    why: str = ""
    retry_after: float | None = None
    refused: bool = False  # by us: the address may not be asked

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do after an attempt: `after` is the seconds to wait for the next one, None = there is none."""

    after: float | None
    why: str


def new_secret() -> str:
    """A secret to sign with: 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises UsageError for what is no secret of at least 24 bytes."""
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        hint = "It is whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)"
        raise UsageError("The secret of the webhook is none.", hint=hint)
    return key


def headers(message: Message, secret: str, at: float | None = None) -> dict[str, str]:
    """The headers of an attempt at a time (seconds since 1970): id, time, signature, type of the body.

    Raises UsageError, MissingExtraError.
    """
    try:
        from standardwebhooks.webhooks import Webhook
    except ImportError as error:
        words = "Webhooks need the package standardwebhooks."
        raise MissingExtraError(words, hint="pip install 'comfyops[server]'") from error
    seconds = int(time.time() if at is None else at)
    signature = Webhook(key_of(secret)).sign(message.id, datetime.fromtimestamp(seconds, UTC), message.body)
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
        "content-type": "application/json; charset=utf-8",
        "user-agent": "comfyops",
    }


async def post(receiver: Receiver, message: Message, *, timeout: float = ANSWER_SECONDS) -> Delivery:
    """One attempt; whatever goes wrong is in what it gives. Redirects are not followed.

    The address that a name leads to is judged at the moment of connecting, so that no answer of DNS leads inside.
    Raises MissingExtraError.
    """
    signed = headers(message, receiver.secret)
    resolver = ThreadedResolver() if receiver.allow_private else _PublicResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    limit = aiohttp.ClientTimeout(total=timeout)
    told: dict[str, Any] = {"trust_env": False, "auto_decompress": False}  # a small answer may unpack to a huge one
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit, **told) as session,
            session.post(receiver.url, data=message.body.encode(), headers=signed, allow_redirects=False) as answer,
        ):
            await answer.content.read(_READ)
            wait = _seconds(answer.headers.get("Retry-After", ""))
            return Delivery(answer.status, "" if answer.status < 300 else f"HTTP {answer.status}", wait)
    except _PrivateError as error:
        return Delivery(0, str(error), refused=True)
    except TimeoutError:
        return Delivery(0, f"no answer in {timeout:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        private = _private_cause(error)
        return Delivery(0, private or f"no connection: {type(error).__name__}", refused=bool(private))


def retry(delivery: Delivery, attempts: int, luck: Callable[[], float] = random.random) -> Retry:
    """What to do after so many attempts (at least 1), the last of which came to this. Pure but for `luck` (0 to 1).

    410 means that the receiver wants no more; any other answer but 2xx is tried again, at the earliest when the
    receiver says so.
    """
    if delivery.ok:
        return Retry(None, "delivered")
    if delivery.refused or delivery.status == 410:
        return Retry(None, delivery.why)
    if attempts >= len(DELAYS):
        return Retry(None, f"given up after {attempts} attempts: {delivery.why}")
    asked = min(delivery.retry_after or 0.0, _LONGEST_WAIT)
    return Retry(max(asked, DELAYS[attempts] * (0.9 + 0.2 * luck())), delivery.why)


class _PrivateError(OSError):
    """A name leads to an address that may not be asked."""


class _PublicResolver(AbstractResolver):
    """Finds the addresses of a name, and none that is not public."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses. Raises OSError where one of them is private or local."""
        found = await self._inner.resolve(host, port, family)
        for item in found:
            if not is_public(item["host"]):
                raise _PrivateError(f"{host} leads into a private network")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


def _check_url(url: str, *, allow_private: bool) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = URL(url).raw_host or ""  # as it is asked: other digits than 0 to 9 have become these
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password or " " in url:
        raise UsageError(f"{url[:100]!r} is no address for a webhook.", hint="It looks like https://host/path.")
    if allow_private:
        return
    hint = "Allow private addresses and plain http for webhooks, where that is meant."
    if parts.scheme != "https":
        raise UsageError("A webhook goes by https.", hint=hint)
    try:
        inside = not is_public(host)
    except ValueError:
        # Numbers and dots alone are asked as they stand, by no look at DNS: only a plain address may be so.
        inside = host.replace(".", "").isdigit() or host.rstrip(".").lower() == "localhost"
    if inside:
        raise UsageError(f"{host} is an address of a private network.", hint=hint)


def _private_cause(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, _PrivateError):
            return str(error)
        error = error.__cause__ or error.__context__
    return ""


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() and len(text) < 10 else None
