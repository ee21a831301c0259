"""GET /auth/verify: the same decision, for a request that another proxy asks about before it passes it on itself."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import unquote_to_bytes

from comfyops.auth import policy
from comfyops.gateway import browser, cookies
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import SAFE, place
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.refusal import RefusedError

_PATH = "/auth/verify"

_METHOD = (b"x-original-method", b"x-forwarded-method")
_TARGET = (b"x-original-uri", b"x-forwarded-uri")


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
    principal = exchange.principal
    if principal is None:
        return []
    named = {b"x-comfyops-user": principal.name, b"x-comfyops-role": principal.role, b"x-comfyops-owner": principal.id}
    return [(name, _header(value)) for name, value in named.items()]


def _header(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace").translate(None, b"\r\n\0")
