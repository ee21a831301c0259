"""What administrators do, each with its record: tokens, users, roles, the first administrator. It blocks."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from comfyops.auth import credentials
from comfyops.auth.audit import AuditLog
from comfyops.auth.principal import Principal
from comfyops.auth.records import Token, User
from comfyops.auth.store import Store
from comfyops.auth.tokens import new_owner
from comfyops.errors import AuthError

SETUP_LIFETIME = 3600.0
"""Seconds for which a one-time secret counts."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made; `text` is what its owner sends, and is never shown again."""

    token: Token
    text: str = field(repr=False)


class Administration:
    """Changes to a store, recorded under the name of who makes them and where from. `rounds` is bcrypt's cost.

    With `keep_one` the last administrator stays one: who works from afar could not make another.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditLog,
        actor: str | Principal,
        rounds: int = credentials.ROUNDS,
        *,
        address: str = "",
        keep_one: bool = True,
    ) -> None:
        self._store = store
        self._audit = audit
        self._actor = actor
        self._address = address
        self._rounds = rounds
        self._keep_one = keep_one

    def create_token(self, name: str, role: str, *, lifetime: float | None = None, user: str | None = None) -> NewToken:
        """Make a token that counts for `lifetime` seconds (None: until revoked), of a user or of nobody.

        Raises AccountError for a name in use, an unknown role and an unknown user.
        """
        ends = None if lifetime is None else self._now() + lifetime
        with self._recorded("auth.token.create", name, role=role, user=user or "", expires_at=ends):
            text, token = self._fresh(name, role, ends)
            return NewToken(self._store.tokens.add(token, self._now(), user=user), text)

    def revoke_token(self, name: str) -> tuple[Token, ...]:
        """End the token of this name or id, everywhere within a second. Raises AccountError."""
        with self._recorded("auth.token.revoke", name):
            return self._store.tokens.revoke(name, self._now())

    def rotate_token(self, name: str, overlap: float = 0.0) -> NewToken:
        """Give a token another secret; the old one counts for `overlap` seconds more. Raises AccountError."""
        with self._recorded("auth.token.rotate", name, overlap=overlap):
            text, token = self._fresh(name, "", None)
            return NewToken(self._store.tokens.rotate(name, token, self._now(), overlap), text)

    def create_user(self, name: str, role: str, password: str) -> User:
        """Make a user. Raises AccountError and WeakPasswordError."""
        with self._recorded("auth.user.create", name, role=role):
            return self._store.users.add(name, role, self._hashed(password, name), self._now())

    def set_password(self, name: str, password: str) -> User:
        """Give a user another password; their sessions end. Raises AccountError and WeakPasswordError."""
        with self._recorded("auth.user.password", name):
            return self._store.users.set_password(name, self._hashed(password, name), self._now())

    def set_user_role(self, name: str, role: str) -> User:
        """Give a user another role; their sessions end. Raises AccountError and LastAdministratorError."""
        with self._recorded("auth.user.role", name, role=role):
            return self._store.users.set_role(name, role, self._now(), keep_one=self._keep_one)

    def disable_user(self, name: str, *, disabled: bool = True) -> User:
        """Keep a user out with all tokens and sessions, or let one in again.

        Raises AccountError and LastAdministratorError.
        """
        with self._recorded("auth.user.disable" if disabled else "auth.user.enable", name):
            return self._store.users.disable(name, self._now(), disabled=disabled, keep_one=self._keep_one)

    def end_sessions(self, *, session: str | None = None, user: str | None = None) -> tuple[str, ...]:
        """End one session by its id, or all of a user; their ids. Raises AccountError where there is no such one."""
        with self._recorded("auth.session.end", session or user or ""):
            return self._store.sessions.end_all(self._now(), session=session, user=user)

    def set_role(self, name: str, scopes: Iterable[str]) -> frozenset[str]:
        """Make a role, or give one other scopes. Raises AccountError."""
        wanted = sorted(set(scopes))
        with self._recorded("auth.role.set", name, scopes=wanted):
            return self._store.roles.set(name, wanted, self._now())

    def remove_role(self, name: str) -> None:
        """Forget a role of one's own, or what was changed in one of ComfyOps's. Raises AccountError."""
        with self._recorded("auth.role.remove", name):
            self._store.roles.remove(name, self._now())

    def first_administrator(self, name: str, password: str) -> User:
        """Make the first administrator. Raises AccountError where there is one, and WeakPasswordError."""
        with self._recorded("auth.init", name):
            return self._store.users.first(name, self._hashed(password, name), self._now())

    def offer_setup(self) -> str:
        """A one-time secret with which the first administrator can be made from afar, for SETUP_LIFETIME seconds.

        Raises AccountError where there is an administrator.
        """
        with self._recorded("auth.init.secret", ""):
            secret = secrets.token_urlsafe(24)
            self._store.users.offer_setup(credentials.digest(secret), self._now() + SETUP_LIFETIME)
            return secret

    def _fresh(self, name: str, role: str, ends: float | None) -> tuple[str, Token]:
        made = credentials.TokenText.new()
        kept = credentials.hashed(made.secret, self._rounds)
        return made.text, Token(made.id, name, new_owner(), role, self._now(), ends, None, kept)

    def _hashed(self, password: str, name: str) -> str:
        credentials.check_strength(password, name)
        return credentials.hashed(password, self._rounds)

    def _now(self) -> float:
        return self._store.clock()

    @contextmanager
    def _recorded(self, action: str, target: str, **details: Any) -> Iterator[None]:
        try:
            yield
        except AuthError as error:
            self._record(action, target, details, reason=error.message, allowed=False)
            raise
        self._record(action, target, details)

    def _record(self, action: str, target: str, details: Any, reason: str = "", *, allowed: bool = True) -> None:
        principal, name = (self._actor, "") if isinstance(self._actor, Principal) else (None, self._actor)
        self._audit.record(
            action,
            principal,
            actor=name,
            address=self._address,
            target=target,
            allowed=allowed,
            reason=reason,
            details=details,
        )
