"""Who asks and whether he may: the one place for HTTP and websocket requests, before anything else happens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from comfyops.auth import paths, policy
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.principal import Principal
from comfyops.errors import PathError, TooManyAttemptsError
from comfyops.gateway import browser, credentials
from comfyops.gateway.credentials import Credential
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import GatewaySettings

DOOR = "comfyops.door"
"""Key of an ASGI scope under which another door stands than the gateway's own."""

SAFE = ("GET", "HEAD", "OPTIONS")

_LONGEST_REMEMBERED = 256  # bytes of a path; anybody may ask for long ones, and each is kept several times over


class Record(Protocol):
    """The record of who did what."""

    def __call__(
        self,
        action: str,
        principal: Principal | None = None,
        /,
        *,
        address: str,
        target: str = "",
        allowed: bool,
        reason: str,
    ) -> None:
        """Write one line. Raises StorageError where it cannot: then the request is not served."""
        ...


def too_many(error: TooManyAttemptsError) -> RefusedError:
    """The answer to who tries too often."""
    seconds = max(1, math.ceil(float(error.facts.get("retry_after", 1))))
    return RefusedError(429, error.code, error.message, retry_after=seconds)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes: the path that is decided on, and the one that a server gets."""

    path: str
    target: bytes


def place(raw: bytes) -> Place:
    """Where a raw path leads. Raises RefusedError for one without an honest reading."""
    return _remembered(raw) if len(raw) <= _LONGEST_REMEMBERED else _place(raw)


def _place(raw: bytes) -> Place:
    try:
        return Place(policy.canonical(paths.normalise(raw)), paths.upstream(raw).encode())
    except PathError as error:
        raise RefusedError(400, "bad_path", "The path is not one that is understood.") from error


_remembered = lru_cache(maxsize=4096)(_place)


class Door:
    """Lets a request in, or raises RefusedError."""

    def __init__(self, settings: GatewaySettings, authenticator: Authenticator) -> None:
        self._settings = settings
        self._authenticator = authenticator

    async def enter(self, exchange: Exchange) -> Credential:
        """Check a request in every way, and fill in who asks for what; gives what he showed."""
        settings = self._settings
        self._find_place(exchange)
        exchange.query, tokens = credentials.without_token(exchange.query)
        exchange.host = browser.check_host(self._hosts(exchange), settings.hosts)
        origins, sites = exchange.all(b"origin"), exchange.all(b"sec-fetch-site")
        navigates = exchange.method == "GET" and exchange.first(b"sec-fetch-mode") == b"navigate"
        origin = browser.check_origin(origins, sites, exchange.host, settings.origins, navigates=navigates)
        exchange.cors = browser.cors(origin)
        shown = credentials.find(
            exchange.all(b"authorization"), exchange.all(b"cookie"), tokens, query=settings.query_token
        )
        exchange.principal = await self._who(shown, exchange.address)
        public = policy.is_public(exchange.method, exchange.path)
        if exchange.principal is None and shown.kind != "none" and not public:
            raise RefusedError(401, "wrong_credential", "The credential is not right.")
        if exchange.method == "OPTIONS" and origin:
            return shown
        decision = policy.decide(exchange.principal, exchange.method, exchange.path)
        if not decision.allowed:
            raise RefusedError(decision.status, decision.code, decision.reason)
        websocket = exchange.scope["type"] == "websocket"
        if shown.kind == "session" and not public and (websocket or exchange.method not in SAFE):
            browser.check_session_use(origins, sites)
        return shown

    async def _who(self, shown: Credential, address: str) -> Principal | None:
        if shown.kind == "token":
            try:
                return await self._authenticator.bearer(shown.value, address)
            except TooManyAttemptsError as error:
                raise too_many(error) from error
        if shown.kind == "session":
            return await self._authenticator.session(shown.value)
        return self._authenticator.guest()

    def _find_place(self, exchange: Exchange) -> None:
        scope = exchange.scope
        client = scope.get("client")
        peer = client[0] if client else ""
        exchange.address = browser.client_address(peer, exchange.all(b"x-forwarded-for"), self._settings.proxies)
        raw = scope.get("raw_path") or scope["path"].encode()
        found = place(raw)
        exchange.path, exchange.raw_path = found.path, found.target

    def _hosts(self, exchange: Exchange) -> list[bytes]:
        client = exchange.scope.get("client")
        forwarded = exchange.all(b"x-forwarded-host")
        if forwarded and client and client[0] in self._settings.proxies:
            return forwarded
        return exchange.all(b"host")
