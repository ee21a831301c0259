"""Pure: which credential a request brings, HTTP and websocket alike."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus

from comfyops.auth.authenticator import COOKIE
from comfyops.gateway.refusal import RefusedError

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Credential:
    """What was brought: a token or a session; `kind` "none" with an empty value where nothing was."""

    kind: Literal["token", "session", "none"]
    value: str = ""


NONE = Credential("none")


def find(authorizations: list[bytes], cookies: list[bytes], query_tokens: list[str], *, query: bool) -> Credential:
    """The credential in a request's headers; one in the query counts only where `query` says so.

    An Authorization header decides alone: a wrong one is never made good by a cookie. Raises RefusedError (401) for one
    that is malformed.
    """
    if len(authorizations) > 1:
        raise _malformed()
    if authorizations:
        return Credential("token", _token(authorizations[0]))
    if query and query_tokens:
        if len(query_tokens) > 1 or not query_tokens[0]:
            raise _malformed()
        return Credential("token", query_tokens[0])
    session = cookie(cookies, COOKIE)
    return Credential("session", session) if session else NONE


def without_token(query: bytes) -> tuple[bytes, list[str]]:
    """A query string without its `token` parameters, however they are encoded, and their values."""
    if b"oken" not in query.lower() and b"%" not in query:
        return query, []
    kept, tokens = [], []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if unquote_plus(name.decode("latin-1")).strip().lower() == "token":
            tokens.append(unquote_plus(value.decode("latin-1")))
        else:
            kept.append(part)
    return b"&".join(kept), tokens


def _token(header: bytes) -> str:
    words = header.split()
    if len(words) != 2 or len(header) > _LONGEST:
        raise _malformed()
    scheme, value = words[0].lower(), words[1]
    try:
        if scheme == b"bearer":
            return value.decode("ascii")
        if scheme == b"basic":
            _, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
            if colon and password:
                return password
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise _malformed()


def cookie(cookies: list[bytes], name: str) -> str:
    """The value of a cookie, "" where there is none.

    What other programs on this host set beside it does not matter, however odd. Several that differ are none: a page of
    a neighbouring name may have set one of them, to have somebody work in its account.
    """
    if sum(map(len, cookies)) > 4 * _LONGEST:
        return ""
    pairs = (part.decode("latin-1").partition("=") for line in cookies for part in line.split(b";"))
    found = {value.strip().removeprefix('"').removesuffix('"') for key, _, value in pairs if key.strip() == name}
    return found.pop() if len(found) == 1 else ""


def _malformed() -> RefusedError:
    return RefusedError(401, "malformed_credential", "The credential is not in a form that is understood.")
