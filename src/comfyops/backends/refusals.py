"""What a refusal or a failure of the network means, as errors of ours. Pure: no input or output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp

from comfyops.backends.answers import plain_error
from comfyops.backends.events import Output
from comfyops.errors import (
    BackendError,
    LoginRequiredError,
    NotComfyUIError,
    OutputGoneError,
    RejectedError,
    UnreachableError,
    UnsupportedError,
)

LOGIN_HINT = "Give its token with COMFYOPS_TOKEN or --token; ComfyUI-Login's is the first line of login/PASSWORD."


def refusal(status: int, body: str, location: str, url: str, route: str) -> BackendError:
    """The error of ours for an answer with a status of 300 or more; facts: `status`, `body` (where it is JSON)."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    facts = {"status": status, "url": url, "route": route, "body": parsed}
    words = plain_error(parsed) if isinstance(parsed, dict) else ""
    if status < 400:
        if "login" in location.lower() or "auth" in location.lower():
            return LoginRequiredError(f"{url} asks for a login.", hint=LOGIN_HINT, **facts)
        return NotComfyUIError(f"{url} answers with a redirect to {location[:200] or 'nowhere'}.", **facts)
    if status in (401, 407) or (status == 403 and parsed is None):
        return LoginRequiredError(f"{url} asks for a login ({status}).", hint=LOGIN_HINT, **facts)
    if status in (404, 405):
        kind = UnsupportedError if route.startswith("/api/") else NotComfyUIError
        return kind(f"{url} has no route {route}{': ' + words if words else ''}.", **facts)
    if status in (502, 503, 504):
        return UnreachableError(f"Something in front of {url} answers {status}: the server behind it is away.", **facts)
    if status == 413:
        return RejectedError(f"{url} refused {route}: it is too large.", hint="Send less at once.", **facts)
    reason = words or "internal server error" if status == 500 else words or f"status {status}"
    return RejectedError(f"{url} refused {route} with {status}: {reason.rstrip('.')}.", hint="", **facts)


def translate(error: Exception, url: str, route: str, timeout: float) -> BackendError:
    """The error of ours for one of the HTTP library or the network."""
    facts = {"url": url, "route": route}
    if isinstance(error, aiohttp.InvalidURL):
        return NotComfyUIError(f"{url}{route} is not an address that can be asked.", **facts)
    for kinds, words in _REASONS:
        if isinstance(error, kinds):
            return UnreachableError(f"{url} {words(error, timeout)}.", **facts)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return NotComfyUIError(f"What answers at {url} does not speak HTTP as ComfyUI does.", **facts)
    return UnreachableError(f"{url} cannot be reached: {_reason(error)}.", **facts)


def _timed_out(error: Exception, timeout: float) -> str:
    return f"did not answer within {timeout:g} seconds"


_REASONS: tuple[tuple[tuple[type[Exception], ...], Callable[[Exception, float], str]], ...] = (
    ((TimeoutError,), _timed_out),
    ((aiohttp.ClientConnectorDNSError,), lambda error, _: "cannot be reached: its name is not known"),
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch),
        lambda error, _: f"cannot be reached safely: the TLS connection failed ({_reason(error)})",
    ),
    ((aiohttp.ClientConnectorError,), lambda error, _: f"cannot be reached: {_reason(error)}"),
    (
        (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError),
        lambda error, _: "broke off the connection in the middle of an answer",
    ),
)


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(inner, ConnectionRefusedError):
        return "nothing listens there"
    words = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(words).split())[:200].rstrip(".")


def gone(error: BackendError, output: Output) -> BackendError:
    """OutputGoneError where an error says that there is no such file; any other error unchanged.

    A server also refuses names that lead out of its folders, with 400 or 403.
    """
    odd = ".." in output.subfolder + output.filename or output.subfolder.startswith("/")
    if error.facts.get("status") in ((400, 403, 404) if odd else (400, 404)):
        name = "/".join(filter(None, (output.subfolder, output.filename)))
        return OutputGoneError(f"The file {name!r} of node {output.node} is not on the server any more.", name=name)
    return error
