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

_METHOD = (b"x-original-method", b"x-forwarded-method")
_TARGET = (b"x-original-uri", b"x-forwarded-uri")


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


def _path(raw: bytes) -> str:
    """The path that is decided on. Raises RefusedError (403, as nginx takes a 400 for a fault of ours).

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
