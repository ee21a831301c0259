"""Pure: one sign-in, from the browser that began it to the same browser coming back.

Nothing of it is kept here, so any of several gateways can end what another began: the browser holds a random secret in
a cookie, and state, nonce and PKCE verifier are derived from it. Who has not that cookie has none of the three.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

LIFETIME = 600
"""Seconds in which somebody has to come back from the provider."""

_LONGEST = 4096  # characters of the cookie
_WHEN = re.compile("[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that was begun at a time (seconds since the epoch), and where it leads to after it."""

    secret: str = field(repr=False)
    began: int
    goal: str

    @classmethod
    def new(cls, goal: str, now: float) -> Attempt:
        """A fresh one: 256 random bits."""
        return cls(secrets.token_urlsafe(32), int(now), goal)

    @classmethod
    def parse(cls, cookie: str, now: float) -> Attempt | None:
        """The attempt of a cookie; None where it is none, or too old."""
        secret, _, rest = cookie[:_LONGEST].partition(".")
        began, _, goal = rest.partition(".")
        if len(secret) != 43 or not _WHEN.fullmatch(began) or not 0 <= now - int(began) <= LIFETIME:
            return None
        try:
            return cls(secret, int(began), base64.urlsafe_b64decode(goal.encode()).decode())
        except (binascii.Error, UnicodeError):
            return None

    @property
    def cookie(self) -> str:
        """What the browser holds meanwhile."""
        return f"{self.secret}.{self.began}.{base64.urlsafe_b64encode(self.goal.encode()).decode()}"

    @property
    def state(self) -> str:
        """What comes back with the browser, and proves that it is the one that left."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the token has to hold, so that it was made for this sign-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What proves to the provider that who brings the code is who asked for it (RFC 7636)."""
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        words = f"{purpose}\n{self.began}\n{self.goal}".encode()
        made = hmac.digest(self.secret.encode(), words, hashlib.sha256)
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2)."""
    made = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def authorization_url(endpoint: str, client_id: str, redirect: str, scopes: str, attempt: Attempt) -> str:
    """Where to send the browser."""
    query = urlencode(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect,
            "scope": scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
    )
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"
