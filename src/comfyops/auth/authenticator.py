"""Finds out who asks. Everything slow happens off the event loop; a credential seen before costs microseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from comfyops.auth import scopes
from comfyops.auth.bearer import BearerCheck
from comfyops.auth.identities import Identity
from comfyops.auth.principal import Principal
from comfyops.auth.records import Change, SessionToken
from comfyops.auth.session_check import SessionCheck
from comfyops.auth.signing_in import SigningIn
from comfyops.auth.standing import Standing
from comfyops.auth.store import Store
from comfyops.auth.watch import Watch
from comfyops.config import AuthSettings

__all__ = ["COOKIE", "Authenticator", "SessionToken"]

COOKIE = "comfyops_session"
"""Name of the cookie of a session."""

_GUEST = Principal("guest", "guest", "guest", scopes.GUEST, "guest")


class Authenticator:
    """Tokens, passwords and sessions of one store, for one event loop.

    What is revoked, by whatever process, stops within one second: the store's revision is looked at every half second.
    Where the store cannot be read, every method raises StorageError: nobody is let in unchecked.
    """

    def __init__(self, store: Store, settings: AuthSettings) -> None:
        self._store = store
        self._settings = settings
        self._watch = Watch(store)
        self._signing_in = SigningIn(store, settings)
        self._sessions = SessionCheck(store, self._watch, settings)
        self._bearer = BearerCheck(store, self._watch, settings)

    async def bearer(self, token: str, address: str) -> Principal | None:
        """Whom an API token lets in, None where it lets in nobody.

        Raises TooManyAttemptsError for many wrong secrets of one token from one address.
        """
        return await self._bearer(token, address)

    async def login(self, name: str, password: str, address: str) -> SessionToken:
        """Sign in. Raises WrongCredentialError, TooManyAttemptsError (`facts["retry_after"]`, seconds)."""
        return await self._sessions.begin(await self._signing_in.user(name, password, address))

    async def setup(self, secret: str, name: str, password: str, address: str) -> SessionToken:
        """Make the first administrator with the one-time secret of `comfyops auth init`, and sign in.

        Raises WrongCredentialError, TooManyAttemptsError, WeakPasswordError and AccountError.
        """
        return await self._sessions.begin(await self._signing_in.first(secret, name, password, address))

    async def admit(self, who: Identity, name: str, role: str) -> tuple[SessionToken, bool]:
        """Sign in whom a provider vouches for; whether the user was made just now.

        Raises WrongCredentialError and AccountError.
        """
        user, made = await asyncio.to_thread(self._store.identities.admit, who, name, role, self._store.clock())
        return await self._sessions.begin(user), made

    async def dismiss(self, who: Identity) -> None:
        """End every session of somebody whom the provider gives no role any more."""
        await asyncio.to_thread(self._store.identities.dismiss, who, self._store.clock())

    async def session(self, cookie: str) -> Principal | None:
        """Whom the cookie's value lets in; None where its session has ended, was idle too long, or never was."""
        return await self._sessions(cookie)

    async def logout(self, cookie: str) -> str | None:
        """End a session everywhere; its id, None where there was none."""
        return await self._sessions.end(cookie)

    async def change_password(self, name: str, old: str, new: str, address: str) -> None:
        """Give oneself another password; all one's sessions end. Raises as `login`, and WeakPasswordError."""
        user = await self._signing_in.user(name, old, address)
        fresh = await self._signing_in.new_hash(new, name)
        await asyncio.to_thread(self._store.users.set_password, user.name, fresh, self._store.clock())

    def guest(self) -> Principal | None:
        """Who somebody without a credential is: nobody, unless guests are let in."""
        return _GUEST if self._settings.guest_mode else None

    def standing(self, name: str, role: str) -> Standing:
        """Whom a listener that asks for no credential lets in. It blocks. Raises AccountError."""
        return Standing(self._store, self._watch, name, role)

    async def subscribe_revocations(self) -> AsyncIterator[Change]:
        """Each change from now on, at most half a second late, and each end of a token or session in use here.

        Where `change.concerns(principal)`, connections of that principal have to end.
        """
        looked_at = self._store.clock()
        async for found in self._watch.changes():
            now = self._store.clock()
            for change in (*found, *self._expired(looked_at, now)):
                yield change
            looked_at = now

    def close(self) -> None:
        """End its threads; the store stays open."""
        self._bearer.close()
        self._signing_in.close()

    def _expired(self, since: float, until: float) -> tuple[Change, ...]:
        tokens = [Change(0, "token", token_id) for token_id in self._bearer.expired(since, until)]
        return (*tokens, *(Change(0, "session", session_id) for session_id in self._sessions.expired(since, until)))
