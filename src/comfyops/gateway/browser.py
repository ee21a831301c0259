"""Pure: which requests a page in a browser may send here, and the headers that keep pages apart."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Container
from functools import lru_cache
from urllib.parse import urlsplit

from comfyops.errors import UsageError
from comfyops.gateway.refusal import RefusedError

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")

Headers = list[tuple[bytes, bytes]]

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers of every answer."""

PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, comfy-user"),
    (b"access-control-max-age", b"600"),
]
"""The answer to a browser's question whether a page of an allowed origin may send a request."""

_LONGEST_HOST = 300  # characters of a Host: a name of DNS has 253 at most
_SECURITY_NAMES = frozenset(name for name, _ in SECURITY)

REQUEST_HEADERS = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"pragma", b"user-agent"),
        *(b"content-type", b"content-length", b"range", b"if-range", b"if-match", b"if-none-match"),
        *(b"if-modified-since", b"if-unmodified-since", b"comfy-user"),
    }
)
"""What of a client's headers a server gets to see; credentials, cookies, Origin and Sec-Fetch-* are not among them."""

_DATED = frozenset({b"if-modified-since", b"if-unmodified-since", b"if-range"})
_NO_DATE = re.compile(rb"\s.*\d{5}|\d{5}.*\s")
"""What looks like a date but has too long a number: aiohttp, by which ComfyUI is served, fails on some of these."""

_NOT_PASSED_BACK = _SECURITY_NAMES | {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer"),
    *(b"transfer-encoding", b"upgrade", b"server", b"date", b"set-cookie", b"via", b"x-powered-by"),
    *(b"www-authenticate", b"access-control-allow-origin", b"access-control-allow-credentials"),
    *(b"access-control-allow-methods", b"access-control-allow-headers", b"access-control-max-age"),
}


def to_server(headers: Headers) -> Headers:
    """The headers that are passed on."""
    return [
        (name, value)
        for name, value in headers
        if name in REQUEST_HEADERS and not (name in _DATED and _NO_DATE.search(value))
    ]


def to_client(headers: Headers) -> Headers:
    """The headers that are passed back, with ours."""
    return [*(pair for pair in headers if pair[0] not in _NOT_PASSED_BACK), *SECURITY]


def check_host(hosts: list[bytes], allowed: Collection[str]) -> str:
    """The Host of a request, in small letters. Raises RefusedError where this gateway is not known by that name.

    Addresses and localhost are always right: a page that rebinds DNS to come here has a name.
    """
    if len(hosts) != 1:
        raise RefusedError(400, "bad_host", "The request names no host, or several.")
    host = hosts[0].decode("latin-1").lower()
    name = host_name(host) if len(host) <= _LONGEST_HOST else ""  # what is looked at is remembered for a while
    if not name or not (name == "localhost" or "*" in allowed or name in allowed or _is_address(name)):
        raise RefusedError(421, "unknown_host", "This gateway is not known by that name.")
    return host


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """The name in a Host header, without its port; "" for an impossible one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return "" if any(mark in host for mark in "@/?#\\") else (parts.hostname or "")


def check_origin(
    origins: list[bytes], sites: list[bytes], host: str, allowed: Collection[str], *, navigates: bool
) -> str:
    """The origin of another host that may call us, "" for our own pages and for what is no browser.

    Raises RefusedError for any other origin. `navigates` says that a person opens a page: that may come from anywhere.
    """
    if len(origins) > 1:
        raise RefusedError(403, "foreign_origin", "The request names several origins.")
    origin = origins[0].decode("latin-1").lower().rstrip("/") if origins else ""
    if origin and origin in allowed:
        return origin
    if origin and _place(origin) != host:
        raise RefusedError(403, "foreign_origin", "Pages of that origin may not call this gateway.")
    if not origin and not navigates and sites[:1] in ([b"cross-site"], [b"same-site"]):
        raise RefusedError(403, "foreign_origin", "Pages of other sites may not call this gateway.")
    return ""


def origin_of(text: str) -> str:
    """An origin as browsers send it, of what a person wrote: `https://studio.example.org`. Raises UsageError."""
    origin = text.strip().lower().rstrip("/")
    if not _place(origin) or not host_name(_place(origin)):
        hint = "Write it as https://studio.example.org or http://localhost:3000."
        raise UsageError(f"{text[:100]!r} is no origin of pages.", hint=hint)
    return origin


def check_session_use(origins: list[bytes], sites: list[bytes]) -> None:
    """Refuse what changes something with a cookie only, without proof that one of our pages sent it."""
    if not origins and sites[:1] != [b"same-origin"]:
        raise RefusedError(403, "origin_missing", "With a session, say by Origin or Sec-Fetch-Site which page asks.")


def cors(origin: str) -> Headers:
    """Headers for a page of an allowed origin."""
    if not origin:
        return []
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]


def client_address(peer: str, forwarded: list[bytes], proxies: Container[str]) -> str:
    """Where a request comes from: the peer, or the last address that a trusted proxy names and does not vouch for."""
    if peer not in proxies:
        return peer
    chain = [_without_port(part.strip()) for line in forwarded for part in line.decode("latin-1").split(",")]
    for address in reversed(chain):
        if not _is_address(address):
            return peer
        if address not in proxies:
            return address
    return peer


def _without_port(text: str) -> str:
    """An address as some proxies write it, with a port, and one of IPv6 in brackets."""
    found = _WITH_PORT.fullmatch(text)
    return (found[1] or found[2]) if found else text


def _place(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in ("http", "https") and parts.path == "" else ""


@lru_cache(maxsize=4096)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
