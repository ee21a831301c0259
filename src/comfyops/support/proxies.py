"""Proxies between this machine and the web: which one an address goes through, and a connection that does.

A proxy is an address `http://[user:password@]host[:port]`. Addresses of https go through it by CONNECT, so that it sees
a name and no bytes; those of http are asked of it whole. This machine itself is never asked through a proxy.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from comfyops.errors import UsageError

_LOCAL = ("localhost", ".localhost")


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. `authorization` is the header that it is shown, "" where it wants none; `problem` is why it cannot be
    used, which matters to nobody until something is to go through it.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    problem: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy is told besides."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for http and https. `direct` are hosts that are asked without: names, `.domain`, addresses, networks
    as 10.0.0.0/8, each perhaps with `:port`; "*" is all.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()

    def of(self, url: str) -> Proxy | None:
        """The proxy that an address goes through, None where it is asked directly.

        Raises UsageError for a setting that names no proxy, or one of a kind that is not spoken to.
        """
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        host = (parts.hostname or "").rstrip(".")
        if proxy is None or _is_here(host):
            return None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if any(_matches(item, host, port) for item in self.direct):
            return None
        if proxy.problem:
            raise UsageError(proxy.problem, hint="It looks like http://host:3128; https goes through it by CONNECT.")
        return proxy


NONE = Proxies()
"""Everything is asked directly."""


def parse(http_proxy: str, https_proxy: str, no_proxy: str) -> Proxies:
    """The proxies of the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""
    direct = tuple(item for part in no_proxy.split(",") if (item := part.strip().lower()))
    return Proxies(_proxy(http_proxy, "HTTP_PROXY"), _proxy(https_proxy, "HTTPS_PROXY"), direct)


def connection(
    url: str, proxy: Proxy | None, timeout: float, context: ssl.SSLContext | None = None
) -> http.client.HTTPConnection:
    """A connection to an address's host, not opened yet; through the proxy where there is one."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port
    near, near_port = (host, port) if proxy is None else (proxy.host, proxy.port)
    if not secure:
        return http.client.HTTPConnection(near, near_port, timeout=timeout)
    made = http.client.HTTPSConnection(near, near_port, timeout=timeout, context=context)
    if proxy is not None:
        made.set_tunnel(host, port or 443, proxy.headers)
    return made


def absolute(url: str, target: str, proxy: Proxy | None) -> tuple[str, dict[str, str]]:
    """What to ask for on such a connection, and further headers: a proxy is asked for whole addresses of http."""
    parts = urlsplit(url)
    if proxy is None or parts.scheme == "https":
        return target, {}
    return f"http://{parts.netloc.rpartition('@')[2]}{target}", proxy.headers


def _proxy(text: str, variable: str) -> Proxy | None:
    text = text.strip()
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if not host:
        return Proxy("", 0, problem=f"{variable} is wrong: it is no address of a proxy.")
    if parts.scheme != "http":
        words = f"{variable} names a proxy of the kind {parts.scheme!r}; only http:// proxies are spoken to."
        return Proxy(host, 0, problem=words)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    basic = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
    return Proxy(host, port or 80, basic)


def _is_here(host: str) -> bool:
    if host in _LOCAL or host.endswith(_LOCAL[1]):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _matches(item: str, host: str, port: int) -> bool:
    """Whether an item of NO_PROXY means a host; a name means what is below it too."""
    with_port = item.count(":") == 1 or "]:" in item
    name, _, wanted = item.rpartition(":") if with_port else (item, "", "")
    if name == "*":
        return True
    if wanted and wanted != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        name = name.lstrip("*").lstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
