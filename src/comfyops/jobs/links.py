"""Signed links to kept files: whoever has one may fetch that file until it expires, without a login. Pure, no clock.

    signature = HMAC-SHA-256(secret, "version, hash, name, expiry"), in URL-safe base64 without padding

The whole of what the link gives is signed, so nothing of it can be changed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode

LONGEST = 7 * 86_400.0
"""Seconds that a link may be good for."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_EXPIRY = re.compile(r"[0-9]{1,12}")


class Verdict(StrEnum):
    """Whether a link may be followed."""

    GOOD = "good"
    EXPIRED = "expired"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for: a file by its BLAKE3, the name and type it is given under, when it expires."""

    hash: str
    name: str
    mime: str
    expires: int

    def query(self, secret: bytes) -> str:
        """The part of the address after "?"."""
        values = {"name": self.name, "type": self.mime, "expires": str(self.expires), "signature": _sign(self, secret)}
        return urlencode(values)


def make(digest: str, name: str, mime: str, now: float, seconds: float) -> Link:
    """A link to a file that is good for `seconds` from `now`, `LONGEST` at most."""
    return Link(digest, name, mime, int(now + max(1.0, min(seconds, LONGEST))))


def check(digest: str, query: Mapping[str, str], secret: bytes, now: float) -> tuple[Verdict, Link | None]:
    """Whether a link may be followed now, and what it stands for where it is genuine."""
    expires, signature = query.get("expires", ""), query.get("signature", "")
    if not _DIGEST.fullmatch(digest) or not _EXPIRY.fullmatch(expires) or not signature.isascii():
        return Verdict.WRONG, None
    link = Link(digest, query.get("name", ""), query.get("type", ""), int(expires))
    if not hmac.compare_digest(_sign(link, secret), signature):
        return Verdict.WRONG, None
    return (Verdict.GOOD if now < link.expires else Verdict.EXPIRED), link


def _sign(link: Link, secret: bytes) -> str:
    fields = ("1", link.hash, link.name, link.mime, str(link.expires))
    text = b"".join(len(field.encode()).to_bytes(4, "big") + field.encode() for field in fields)
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=").decode()
