"""GET /auth/verify: the same decision, for a request that another proxy asks about before it passes it on itself."""

from __future__ import annotations

from collections.abc import Container, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from comfyops.auth import policy
from comfyops.gateway import browser, cookies
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import SAFE, place
from comfyops.gateway.exchange import Exchange, Scope, Send
from comfyops.gateway.folders import hides_places
from comfyops.gateway.refusal import RefusedError

_PATH = "/auth/verify"

_METHOD = (b"x-original-method", b"x-forwarded-method")
_TARGET = (b"x-original-uri", b"x-forwarded-uri")
_NAMES = (b"x-comfyops-user", b"x-comfyops-role", b"x-comfyops-owner")


class _NotPassedOnError(RefusedError):
    """A refusal for a proxy that makes a fault of its own (500) out of any status but 401 and 403."""

    def __init__(self, refused: RefusedError) -> None:
        super().__init__(403, refused.code, refused.message, retry_after=refused.retry_after)
        self._meant = refused.status

    def headers(self) -> browser.Headers:
        """As of any refusal, and the status that is meant, for the proxy to tell its client."""
        return [*super().headers(), (b"x-comfyops-status", str(self._meant).encode())]


async def verify(exchange: Exchange, shown: Credential, proxies: Container[str]) -> tuple[str, str]:
    """Answer 204 with headers that name who asks, or raise RefusedError (401, 403); method and path of the request.

    Only a trusted proxy is answered, and only where it names the original request: a proxy that was set up wrongly
    lets nobody through, rather than everybody.
    """
    if not cookies.trusted(exchange, proxies):
        raise RefusedError(403, "untrusted_proxy", "Only a proxy that the gateway was told to trust may ask this.")
    method = _said(exchange, _METHOD).decode("latin-1").upper()
    path = _path(_said(exchange, _TARGET).partition(b"?")[0])
    exchange.path = f"{exchange.path} for {method[:20]} {path}"  # what the record is to say of it
    if exchange.principal is None and shown.kind != "none":
        raise RefusedError(401, "wrong_credential", "The credential is not right.")
    decision = policy.decide(exchange.principal, method, path)
    if not decision.allowed:
        raise RefusedError(decision.status, decision.code, decision.reason)
    if hides_places(path, exchange.principal):
        raise RefusedError(403, "places_of_folders", "Names of folders without their places are had at the gateway.")
    if shown.kind == "session" and (method not in SAFE or exchange.first(b"upgrade")):
        browser.check_session_use(exchange.all(b"origin"), exchange.all(b"sec-fetch-site"))
    await exchange.answer(204, b"", _names(exchange))
    return method, path


def told(exchange: Exchange, refused: RefusedError) -> RefusedError:
    """A refusal as the proxy that asks can take it: nginx (it says X-Original-URI) only as 401 or 403.

    Caddy and Traefik (they say X-Forwarded-Uri) pass any status on, and faults of ours are faults to all of them.
    """
    asked = exchange.path.partition(" ")[0] == _PATH and bool(exchange.all(_TARGET[0]))
    if not asked or refused.status in (401, 403) or refused.status >= 500:
        return refused
    return _NotPassedOnError(refused)


def goal(exchange: Exchange) -> str:
    """Where to go after signing in: what was asked for, which a proxy that asks about it names."""
    wanted = {value for name in _TARGET for value in exchange.all(name)}
    asked = exchange.path.partition(" ")[0] == _PATH and len(wanted) == 1
    return (wanted.pop() if asked else exchange.target).decode("latin-1")


def comes_as_handshake(scope: Scope) -> bool:
    """Whether a question comes as the handshake of a websocket: Caddy leaves `Upgrade` in what it asks about one."""
    return bool(scope["type"] == "websocket" and scope["path"] == _PATH)


def answering(send: Send) -> Send:
    """Answers as of HTTP, to what came as a handshake: no websocket is made of it."""

    async def answer(message: MutableMapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return answer


def _path(raw: bytes) -> str:
    """The path that is decided on. Raises RefusedError (403: the path is the client's fault, not the proxy's).

    The proxy passes on what was written: what a server could read otherwise than it is decided on is refused.
    """
    try:
        found = place(raw)
    except RefusedError as error:
        raise RefusedError(403, error.code, error.message) from error
    if unquote_to_bytes(raw).rstrip(b"/") != unquote_to_bytes(found.target).rstrip(b"/"):
        raise RefusedError(403, "bad_path", "The path is not written plainly.")
    return found.path


def _said(exchange: Exchange, names: tuple[bytes, ...]) -> bytes:
    """What the proxy says of the original request. Raises RefusedError where it says nothing, or two things.

    Proxies pass on what the client sent under the name that they do not use themselves: both have to agree.
    """
    found = {value for name in names for value in exchange.all(name)}
    if len(found) != 1:
        words = "Say the method in X-Original-Method, the path in X-Original-URI (or X-Forwarded-...), and each once."
        raise RefusedError(403, "no_original", words)
    return found.pop()


def _names(exchange: Exchange) -> browser.Headers:
    """Who asks; for nobody the names are there and empty, so that they take the place of what a client made up."""
    who = exchange.principal
    values = (who.name, who.role, who.id) if who is not None else ("", "", "")
    return [(name, _header(value)) for name, value in zip(_NAMES, values, strict=True)]


def _header(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace").translate(None, b"\r\n\0")
