"""Signed links to assets: whoever has one may fetch that file until it expires, without a login.

    signature = HMAC-SHA-256(secret, "version, asset, expiry"), in URL-safe base64 without padding

The link names an asset, not its bytes: it ends with its asset, and with the secret it was made with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode

from sqlalchemy import Connection, select

from comfyops.jobs import schema
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert

LONGEST = 7 * 86_400.0
"""Seconds that a link may be good for."""

SECRET = "link_secret"
"""The setting of the queue that links are signed with."""

_EXPIRY = re.compile(r"[0-9]{1,12}")
_s = schema.settings.c


class Verdict(StrEnum):
    """Whether a link may be followed."""

    GOOD = "good"
    EXPIRED = "expired"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for: an asset by its id, and when it expires, in seconds since the epoch."""

    asset: str
    expires: int

    def query(self, secret: bytes) -> str:
        """The part of the address after "?"."""
        return urlencode({"expires": str(self.expires), "signature": _sign(self, secret)})


def make(asset: str, now: float, seconds: float) -> Link:
    """A link to an asset that is good for `seconds` from `now`, `LONGEST` at most."""
    return Link(asset, int(now + max(1.0, min(seconds, LONGEST))))


def check(asset: str, query: Mapping[str, str], secret: bytes, now: float) -> tuple[Verdict, Link | None]:
    """Whether a link may be followed now, and what it stands for where it is genuine."""
    expires, signature = query.get("expires", ""), query.get("signature", "")
    if not _EXPIRY.fullmatch(expires) or not signature.isascii():
        return Verdict.WRONG, None
    link = Link(asset, int(expires))
    if not hmac.compare_digest(_sign(link, secret), signature):
        return Verdict.WRONG, None
    return (Verdict.GOOD if now < link.expires else Verdict.EXPIRED), link


class LinkKeys:
    """The secret of a database's links: made once, read anew for each use, so that another one counts everywhere."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def secret(self) -> bytes:
        """What links are signed with. Raises DatabaseError."""
        found = await self._store.read(_read)
        return (found or await self._store.write(_kept)).encode()

    async def rotate(self) -> None:
        """Revoke every link there is. Raises DatabaseError."""
        fresh = secrets.token_urlsafe(32)
        await self._store.write(
            lambda tx: tx.execute(
                upsert(tx, schema.settings, {"name": SECRET, "value": fresh}, ["name"], {"value": fresh})
            )
        )


def _read(connection: Connection) -> str:
    return str(connection.execute(select(_s.value).where(_s.name == SECRET)).scalar_one_or_none() or "")


def _kept(tx: Tx) -> str:
    tx.execute(upsert(tx, schema.settings, {"name": SECRET, "value": secrets.token_urlsafe(32)}, ["name"], {}))
    return _read(tx.connection)


def _sign(link: Link, secret: bytes) -> str:
    fields = ("2", link.asset, str(link.expires))
    text = b"".join(len(field.encode()).to_bytes(4, "big") + field.encode() for field in fields)
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=").decode()
