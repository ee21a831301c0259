"""What a gateway is told."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

from comfyops.config import OidcSettings
from comfyops.errors import UsageError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what one request, one owner and one socket may cost. Sizes are bytes, times seconds."""

    prompt_bytes: int = 16 * MIB  # body of POST /prompt, which is held in memory
    small_bytes: int = MIB  # bodies of the other requests that are read here
    upload_bytes: int = 100 * MIB  # any other body; it is passed on in pieces
    nodes: int = 5000  # of one workflow
    nesting: int = 64  # of the JSON of one request
    requests_per_second: float = 5000.0  # of one owner, on average
    requests_burst: int = 20_000  # of one owner at once
    jobs: int = 100  # of one owner, waiting and running
    connections: int | None = None  # of one address, with websockets; None: two fifths of what the process may have
    socket_bytes: int = 64 * MIB  # waiting for one slow websocket
    socket_seconds: float = 20.0  # in which a websocket must take a message
    body_seconds: float = 60.0  # in which the next piece of a body must come
    stall_seconds: float = 600.0  # with the same job at the head of the queue and no news: the worker is dead


@dataclass(frozen=True, slots=True)
class Classes:
    """Node classes that a role may use: those that are allowed (None = all) and not denied."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def permits(self, class_type: str) -> bool:
        """Whether a class may be used."""
        return class_type not in self.deny and (self.allow is None or class_type in self.allow)


class Launched(Protocol):
    """What keeps a server alive that was started here."""

    @property
    def status(self) -> str:
        """How it is: starting, running, restarting, given up."""
        ...

    @property
    def restarts(self) -> int:
        """How often it was started anew."""
        ...

    def dead(self, why: str) -> None:
        """It does nothing any more; `why` is a sentence."""
        ...

    def tell(self, listener: Callable[[Any, str], None]) -> None:
        """Tell somebody of changes of its status, and why."""
        ...


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """A ComfyUI server. `credential` is sent to it as a bearer token (ComfyUI-Login wants its hash there).

    `kept` is what starts it anew, where it was started here.
    """

    url: str
    credential: str | None = field(default=None, repr=False)
    kept: Launched | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One gateway. `hosts` are the names it answers to besides its address and localhost; "*" is any.

    `origins` are pages of other hosts that may call it from a browser. `proxies` are addresses whose X-Forwarded-*
    headers count. `classes` holds rules by role. `query_token` lets clients send their token as `?token=`.
    `oidc` is who else vouches for people. With `shared_userdata` workflows and settings that the page saves are the
    server's, for all who may read them, else each owner has their own here.
    """

    backends: tuple[BackendAddress, ...]
    limits: Limits = Limits()
    classes: Mapping[str, Classes] = field(default_factory=lambda: MappingProxyType({}))
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    proxies: Container[str] = frozenset()
    query_token: bool = False
    oidc: OidcSettings | None = None
    shared_userdata: bool = False

    @property
    def provider(self) -> str:
        """What the sign-in page calls the provider that people may sign in by; "" where there is none."""
        return self.oidc.label if self.oidc else ""

    def __post_init__(self) -> None:
        if not self.backends:
            raise UsageError("A gateway needs a backend.")


def backend(text: str, credential: str | None = None) -> BackendAddress:
    """A backend from what a person wrote. Raises UsageError where it is no http address."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or parts.username or parts.query or parts.fragment:
        raise UsageError(f"{text[:100]!r} is no address of a backend.", hint="Give one such as http://127.0.0.1:8188.")
    return BackendAddress(parts.geturl().rstrip("/"), credential)
