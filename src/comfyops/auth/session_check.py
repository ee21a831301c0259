"""The check of sessions: absolute and idle expiry, remembered while the store says nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from comfyops.auth import credentials
from comfyops.auth.memory import Memory
from comfyops.auth.principal import Principal
from comfyops.auth.records import Session, SessionToken, User
from comfyops.auth.store import Store
from comfyops.auth.watch import Watch
from comfyops.config import AuthSettings

_REMEMBERED = 10_000  # sessions
_TOUCH_EVERY = 60.0  # seconds between two notes in the store that a session is in use
_LONGEST_TEXT = 256
_SKEW = 60.0  # seconds by which a clock may be set back without ending sessions


@dataclass(slots=True)
class _Open:
    """A session as the store had it at a revision; `seen_at` is newer where it was used here."""

    session: Session
    principal: Principal
    revision: int
    seen_at: float
    touched_at: float


class SessionCheck:
    """Begins, finds and ends sessions."""

    def __init__(self, store: Store, watch: Watch, settings: AuthSettings) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings
        self._idle = settings.session_idle
        self._touch_every = min(_TOUCH_EVERY, self._idle / 4)
        self._open: Memory[_Open] = Memory(_REMEMBERED)

    async def begin(self, user: User) -> SessionToken:
        """A new session of a user. Raises WrongCredentialError where the user was changed meanwhile."""
        value = secrets.token_urlsafe(32)
        now = self._store.clock()
        expires_at = now + self._settings.session_lifetime
        key = credentials.digest(value)
        session, principal = await asyncio.to_thread(self._store.sessions.add, user, key, now, expires_at)
        return SessionToken(value, session.id, expires_at, principal)

    async def __call__(self, cookie: str) -> Principal | None:
        """Whom the cookie lets in, None where its session has ended or never was. Raises StorageError."""
        if not cookie or len(cookie) > _LONGEST_TEXT:
            return None
        if not self._watch.fresh:
            await self._watch.look()
        key = _key(cookie)
        now = self._store.clock()
        found = self._open.get(key)
        if found is None or found.revision != self._watch.revision or self._ended(found, now):
            found = await self._read(key, cookie)
        if found is None or self._ended(found, now):
            self._open.forget(key)
            return None
        found.seen_at = max(now, found.seen_at)
        if now - found.touched_at >= self._touch_every:
            found.touched_at = now
            await asyncio.to_thread(self._store.sessions.touch, found.session.id, now)
        return found.principal

    async def end(self, cookie: str) -> str | None:
        """End a session, here at once and elsewhere at the next look; its id, None where there was none."""
        self._open.forget(_key(cookie))
        return await asyncio.to_thread(self._store.sessions.end, credentials.digest(cookie), self._store.clock())

    def expired(self, since: float, until: float) -> Iterator[str]:
        """Ids of sessions in use here whose absolute end came between two times."""
        for found in self._open:
            if since < found.session.expires_at <= until:
                yield found.session.id

    def _ended(self, found: _Open, now: float) -> bool:
        """Whether its time is over, or cannot be told: it was used at a time that is yet to come."""
        return now >= found.session.expires_at or not -_SKEW < now - found.seen_at < self._idle

    async def _read(self, key: bytes, cookie: str) -> _Open | None:
        """Read a session anew: it may have been ended, or used in another process."""
        revision = self._watch.revision
        before = self._open.get(key)
        row = await asyncio.to_thread(self._store.sessions.find, credentials.digest(cookie))
        if row is None:
            return None
        session, principal = row
        seen_at = max(session.seen_at, before.seen_at) if before else session.seen_at
        found = _Open(session, principal, revision, seen_at, session.seen_at)
        self._open.keep(key, found)
        return found


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
