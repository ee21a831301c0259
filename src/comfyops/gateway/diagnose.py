"""Whether a ComfyUI or gateway keeps its door shut, tried from outside.

Changes nothing: every probe is a GET or an odd way to write one, but for a POST that would move a file which is not
there; a server which lets it through stays as it was. What servers with a login were found to let through
(docs/gateway.md) is tried one by one.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from comfyops.errors import UnreachableError, UsageError

State = Literal["ok", "open", "broken"]
Sent = Literal["login", "probed", "elsewhere"]  # where an answer sends on to; `probed`: another path that is tried too

_REFUSED = frozenset({400, 401, 403, 404, 405, 421, 429})
_PASSED = frozenset({400, 404, 405})  # of a server that has looked for what was asked for
_LOGIN = re.compile(r"log-?in|sign-?in|auth|sso|saml|openid", re.IGNORECASE)  # in an address that a login sends to
_FIRST = 4096  # bytes of an answer that are looked at
_LOG = 4 * 1024 * 1024  # of a page or a log
_WRONG = "cops_0000000000000000_" + "A" * 43
_SILENT = 3  # probes that nobody answers in time, after which no further one is tried
_LATE = "no answer in time"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. `right` says that it brings the right credential and has to get through.

    With a `marker` the answer's text alone counts: a way in is there where it holds the marker. With `made_up` it asks
    for what is not there: the answer that it is not there comes from behind the login.
    """

    name: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    method: str = "GET"
    websocket: bool = False
    right: bool = False
    exactly_401: bool = False
    made_up: bool = False
    marker: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a probe: `open` is a way in, `broken` an answer that no server should give."""

    name: str
    state: State
    status: int | None
    words: str


def probes(token: str | None, stale: str | None = None) -> tuple[Probe, ...]:
    """Every probe, with the right token and one that counts no longer, where they are known."""
    found = (*_plain(token), *_headers(), *_paths(), *_queries(token), *_sockets(token))
    return (*found, *_stale(stale)) if stale else found


def _plain(token: str | None) -> tuple[Probe, ...]:
    wrong = {"Authorization": f"Bearer {_WRONG}"}
    found = (
        Probe("no credential", "/queue", why="anybody sees the queue", exactly_401=True),
        Probe("wrong credential", "/queue", wrong, "any token lets in", exactly_401=True),
        Probe("no credential, node types", "/object_info/KSampler", why="anybody sees the nodes", exactly_401=True),
        Probe("no credential, log", "/internal/logs", why="anybody reads the log, which may hold the credential"),
        Probe("no credential, history", "/history?max_items=1", why="anybody sees what others have made"),
        _made_up("no credential, picture", "/view?filename=comfyops-probe.png", "anybody sees pictures"),
        Probe("first visitor", "/login", why="the first visitor chooses the password", marker="enter a new username"),
        Probe("guest at the login", "/login", why="guests see everything, logs too", marker='value="Guest Mode"'),
    )
    if token is None:
        return found
    header, words = {"Authorization": f"Bearer {token}"}, "the log shows the credential"
    return (
        *found,
        Probe("right credential", "/queue", header, right=True),
        Probe("credential in the log", "/internal/logs", header, words, marker=token),
    )


def _headers() -> tuple[Probe, ...]:
    empty = base64.b64encode(b":").decode()
    malformed = ("Bearer", "Basic", "Bearer a b", "xyz", "Basic !!!", f"Basic {empty}", "Bearer " + "x" * 6000)
    return (
        *(Probe(f"malformed header {text[:12]!r}", "/queue", {"Authorization": text}) for text in malformed),
        Probe("guest", "/queue", {"Cookie": "guest=1; guest_mode=true; is_guest=1"}, "guests see everything"),
        Probe("made-up session", "/queue", {"Cookie": "comfyops_session=x; AIOHTTP_SESSION=x"}, "any cookie lets in"),
        Probe("claimed address", "/queue", {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}),
        Probe("claimed path", "/queue", {"X-Original-URL": "/health", "X-Rewrite-URL": "/health"}),
        Probe("claimed method", "/queue", {"X-HTTP-Method-Override": "OPTIONS"}),
    )


def _paths() -> tuple[Probe, ...]:
    suffix = "paths that end so are exempt, which opens userdata and settings"
    aliases = (
        *("/api/queue", "/api/api/queue", "//queue", "/./queue", "/x/../queue", "/%71ueue", "/%2571ueue", "/queue/"),
        *("/QUEUE", "/queue%00", "/queue;.css", "/queue%3f.js", "/%2e/queue", "/auth/login/../../queue", "/\\queue"),
        "/health/../queue",
    )
    files = (
        *("/userdata/comfyops-probe.js", "/api/userdata/comfyops-probe.css", "/settings/comfyops.probe.js"),
        *("/history/comfyops-probe.js", "/api/history/comfyops-probe.css.map"),
    )
    return (
        *(Probe(f"path {path}", path, why="another way to write a path leads around the login") for path in aliases),
        *(_made_up(f"suffix {path}", path, suffix) for path in files),
        _move("/userdata"),
        _move("/api/userdata"),
    )


def _move(folder: str) -> Probe:
    """Whether a file could be moved to a name whose ending is exempt, and be read there; this one is not there."""
    name = f"comfyops-probe-{secrets.token_hex(8)}"
    why = "whoever moves a file to a name that ends so can read it"
    return _made_up(f"move in {folder}", f"{folder}/{name}.json/move/{name}.js", why, "POST")


def _made_up(name: str, path: str, why: str, method: str = "GET") -> Probe:
    """A request without a credential for what is not there."""
    return Probe(name, path, why=why, method=method, exactly_401=True, made_up=True)


def _queries(token: str | None) -> tuple[Probe, ...]:
    found = (
        Probe("empty token in the query", "/queue?token=", why="an empty token lets in before a password is set"),
        Probe("wrong token in the query", f"/queue?token={_WRONG}"),
    )
    if token is None:
        return found
    words = "the token is taken from the address, which logs and histories keep"
    return (*found, Probe("right token in the query", f"/queue?token={quote(token, safe='')}", why=words))


def _stale(token: str) -> tuple[Probe, ...]:
    header, why = {"Authorization": f"Bearer {token}"}, "what was revoked or replaced goes on counting"
    return (
        Probe("stale token", "/queue", header, why, exactly_401=True),
        Probe("stale token in the query", f"/queue?token={quote(token, safe='')}", why=why),
        Probe("websocket, stale token", "/ws", header, why, websocket=True),
    )


def _sockets(token: str | None) -> tuple[Probe, ...]:
    why = "anybody sees everybody's progress and previews"
    found = (
        Probe("websocket, no credential", "/ws?clientId=comfyops-probe", why=why, websocket=True),
        Probe("websocket, alias", "/api/ws?clientId=comfyops-probe", why=why, websocket=True),
        Probe("websocket, empty token", "/ws?token=", why=why, websocket=True),
        Probe("websocket, wrong token", "/ws", {"Authorization": f"Bearer {_WRONG}"}, why, websocket=True),
    )
    if token is None:
        return found
    header = {"Authorization": f"Bearer {token}"}
    return (*found, Probe("websocket, right credential", "/ws", header, websocket=True, right=True))


async def diagnose(
    url: str, token: str | None = None, *, stale: str | None = None, timeout: float = 15.0
) -> tuple[Outcome, ...]:
    """Try every probe on a server; `stale` is a token that was right once. `timeout` is in seconds, for one answer.

    Only this server is asked: where it sends elsewhere nobody follows. Raises UnreachableError where nothing answers,
    or nothing that speaks HTTP, or all is sent to another server, and UsageError for no address and no token.
    """
    address = _address(url)
    _check_tokens(token, stale)
    async with _session(timeout) as session:
        outcomes: list[Outcome] = []
        for probe in probes(token, stale):
            if _gone(outcomes):
                outcomes.append(Outcome(probe.name, "broken", None, "not tried: the server does not answer any more"))
                continue
            outcomes.append(await _try(session, address, probe))
            if outcomes[0].status is None:
                hint = "Start the server, or correct the address."
                raise UnreachableError(f"{address} does not answer as an HTTP server: {outcomes[0].words}.", hint=hint)
    return tuple(outcomes)


def _check_tokens(*tokens: str | None) -> None:
    """Raises UsageError for what no header can hold."""
    if any(token and any(ord(char) < 32 or ord(char) == 127 for char in token) for token in tokens):
        raise UsageError("The token holds a control character, such as a line end.", hint="Give it in one line.")


def _gone(outcomes: list[Outcome]) -> bool:
    return sum(item.words == _LATE for item in outcomes) >= _SILENT


def _address(url: str) -> str:
    """The address without a slash at its end. Raises UsageError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url[:100]!r} is no http address.")
    if parts.username is not None:
        raise UsageError("The address must hold no name and password: each probe brings its own credential.")
    return url.rstrip("/")


@asynccontextmanager
async def _session(timeout: float) -> AsyncIterator[aiohttp.ClientSession]:
    wait = aiohttp.ClientTimeout(total=timeout)
    jar = aiohttp.DummyCookieJar()  # each probe stands for itself
    fresh = aiohttp.TCPConnector(force_close=True)  # a connection each: some close it without saying so
    async with aiohttp.ClientSession(timeout=wait, cookie_jar=jar, connector=fresh) as session:
        yield session


async def _try(session: aiohttp.ClientSession, address: str, probe: Probe) -> Outcome:
    headers = {**probe.headers, **_upgrade()} if probe.websocket else dict(probe.headers)
    try:
        url = URL(address + probe.path, encoded=True)
        async with session.request(probe.method, url, headers=headers, allow_redirects=False) as response:
            target = _target(url, response)
            if target is not None and probe.path == "/queue" and target.origin() != url.origin():
                _refuse_another(address, url, target)
            most = 0 if probe.websocket else _LOG if probe.marker else _FIRST
            body = (await _beginning(response, most)).decode("utf-8", "replace") if most else ""
            return _judged(probe, response.status, body, None if target is None else _sends_to(url, target))
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        return Outcome(probe.name, "broken", None, _reason(error))


def _upgrade() -> dict[str, str]:
    """The headers that ask for a websocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}


def _target(url: URL, response: aiohttp.ClientResponse) -> URL | None:
    """Where an answer sends on to; None where it does not, or nobody can say where."""
    location = response.headers.get("Location")
    if location is None or not 300 <= response.status < 400:
        return None
    try:
        found = url.join(URL(location))
        return found if found.host else None
    except ValueError:
        return None


def _refuse_another(address: str, url: URL, target: URL) -> None:
    """Raises UnreachableError where a server sends the very same path to another one, such as from http to https."""
    if target.path == url.path:
        hint = f"Diagnose that address instead: {target.origin()}"
        raise UnreachableError(f"{address} sends every request on to another server.", hint=hint)


def _sends_to(url: URL, target: URL) -> Sent:
    if _LOGIN.search(f"{target.host}{target.path}"):
        return "login"
    plain = url.path.removesuffix("/")
    same = target.origin() == url.origin() and target.path.endswith("/queue") and target.path != plain
    return "probed" if same else "elsewhere"


def _reason(error: Exception) -> str:
    """Why there was no answer, in a few words."""
    if isinstance(error, TimeoutError):
        return _LATE
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate is not trusted, or it does not speak TLS"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        return (os.strerror(number) if number > 0 else error.os_error.strerror or "no connection").lower()
    return f"no answer that is HTTP ({type(error).__name__})"


async def _beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The first bytes of an answer."""
    found = bytearray()
    async for part in response.content.iter_chunked(65536):
        found += part
        if len(found) >= most:
            break
    return bytes(found[:most])


def _judged(probe: Probe, status: int, body: str, sent: Sent | None) -> Outcome:
    state, words = _verdict(probe, status, body, sent)
    return Outcome(probe.name, state, status, words)


def _verdict(probe: Probe, status: int, body: str, sent: Sent | None) -> tuple[State, str]:
    if probe.right:
        good = status == (101 if probe.websocket else 200)
        return ("ok", "") if good else ("broken", "the right credential is refused")
    if status >= 500:
        return "broken", "the server fails on it, instead of refusing it"
    if probe.marker:
        return ("open", probe.why) if probe.marker in body else ("ok", "")
    if "Traceback" in body or 'File "/' in body:
        return "broken", "the answer shows the inside of the server"
    if status < 300 and (status == 101 or not probe.websocket):
        return "open", probe.why or "it is let in"
    return _refusal(probe, status, sent)


def _refusal(probe: Probe, status: int, sent: Sent | None) -> tuple[State, str]:
    """The verdict on an answer that hands nothing over."""
    if sent == "login" or (sent == "probed" and not probe.exactly_401):
        return "ok", ""
    if probe.made_up and status in _PASSED:
        return "open", f"it should be refused with 401: {probe.why}"
    if probe.exactly_401 and status != 401:
        return "broken", f"nothing is handed over, but by {status} instead of 401"
    return ("ok", "") if status in _REFUSED else ("broken", "this is no clear refusal")
