"""Cookies that the gateway sets, and how a request says by which scheme it came."""

from __future__ import annotations

from collections.abc import Container

from comfyops.gateway.exchange import Exchange


def trusted(exchange: Exchange, proxies: Container[str]) -> bool:
    """Whether the request comes from a proxy whose word counts."""
    client = exchange.scope.get("client")
    return client is not None and client[0] in proxies


def scheme(exchange: Exchange, proxies: Container[str]) -> str:
    """By which scheme the client asks: "https" where the gateway or a trusted proxy serves it by TLS."""
    if exchange.scope.get("scheme") in ("https", "wss"):
        return "https"
    forwarded = exchange.first(b"x-forwarded-proto").lower() in (b"https", b"wss")
    return "https" if forwarded and trusted(exchange, proxies) else "http"


def cookie(
    exchange: Exchange, proxies: Container[str], name: str, value: str, seconds: int, path: str = "/"
) -> tuple[bytes, bytes]:
    """A header that sets a cookie for so many seconds, for HTTP only; by TLS it is never sent without."""
    text = f"{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={seconds}"
    secure = "; Secure" if scheme(exchange, proxies) == "https" else ""
    return b"set-cookie", (text + secure).encode()
