"""Pure: which credential a request brings, HTTP and websocket alike."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
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
    session = _session(cookies)
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


def _session(cookies: list[bytes]) -> str:
    if not cookies or sum(map(len, cookies)) > 4 * _LONGEST:
        return ""
    try:
        found = SimpleCookie(b"; ".join(cookies).decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _malformed() -> RefusedError:
    return RefusedError(401, "malformed_credential", "The credential is not in a form that is understood.")
