"""A listener that asks for no credential, for clients that cannot send one: loopback or a unix socket, under one name.

Whoever reaches it acts as its owner, so it is off unless asked for, and it trusts nobody's word: Host and Origin are
checked more strictly than at the door proper (no names but localhost, no foreign pages, no proxies). A credential that
is shown all the same counts, and a wrong one is refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from pathlib import Path

from comfyops.auth.authenticator import Authenticator
from comfyops.auth.principal import Principal
from comfyops.auth.standing import Standing
from comfyops.errors import UsageError
from comfyops.gateway.credentials import Credential
from comfyops.gateway.door import DOOR, Door
from comfyops.gateway.exchange import Exchange, Receive, Scope, Send
from comfyops.gateway.mounts import ASGIApp
from comfyops.gateway.settings import GatewaySettings

_MODES = ("600", "660")
_FORMS = "Give 127.0.0.1:PORT, [::1]:PORT, or unix:/path/of/a/socket."


@dataclass(frozen=True, slots=True)
class Opened:
    """Where to listen without credentials (a loopback address, or the path of a socket), and who its visitors are."""

    place: tuple[str, int] | Path
    owner: str = "local"
    role: str = "artist"
    mode: int = 0o600


def opened(text: str, owner: str, role: str, mode: str) -> Opened:
    """What a person wrote. Raises UsageError for a place that others than this machine reach, and for a bad mode."""
    if mode.removeprefix("0") not in _MODES:
        raise UsageError(f"{mode!r} is no mode of the socket.", hint="Take 600 (its owner) or 660 (its group too).")
    kind, colon, path = text.partition(":")
    if kind == "unix" and colon:
        if not path or len(path.encode()) > 100:
            raise UsageError("The path of the socket is empty, or longer than 100 bytes.", hint=_FORMS)
        return Opened(Path(path).expanduser().absolute(), owner, role, int(mode, 8))
    return Opened(_loopback(text), owner, role)


def _loopback(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:]+)):([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65535:
        raise UsageError(f"{text[:100]!r} is no place to listen without credentials.", hint=_FORMS)
    host = "127.0.0.1" if found[2] == "localhost" else found[1] or found[2]
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        words = f"{host[:100]!r} can be reached from elsewhere; without credentials only this machine is let in."
        raise UsageError(words, hint=_FORMS)
    return host, int(found[3])


class OpenDoor(Door):
    """The door of such a listener."""

    def __init__(self, settings: GatewaySettings, authenticator: Authenticator, standing: Standing) -> None:
        nobody: frozenset[str] = frozenset()
        strict = replace(settings, hosts=nobody, origins=nobody, proxies=nobody, query_token=False)
        super().__init__(strict, authenticator)
        self._standing = standing

    async def _who(self, shown: Credential, address: str) -> Principal | None:
        if shown.kind == "none":
            return await self._standing()
        return await super()._who(shown, address)

    def _find_place(self, exchange: Exchange) -> None:
        super()._find_place(exchange)
        exchange.address = exchange.address or "unix"


def through(door: Door, gateway: ASGIApp) -> ASGIApp:
    """The gateway, entered by another door."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[DOOR] = door
        await gateway(scope, receive, send)

    return app
