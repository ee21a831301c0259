"""What the store holds, as frozen values. None of them shows a secret or its hash."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyops.auth.principal import Principal


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password. `created_at` is in seconds since the epoch."""

    id: str
    name: str
    role: str
    disabled: bool
    created_at: float
    password_hash: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its secret. Times are seconds since the epoch; None: never.

    `owner` is the user it belongs to, else an id of its own that rotation keeps.
    """

    id: str
    name: str
    owner: str
    role: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    hash: str = field(repr=False, default="")

    def usable(self, now: float) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in."""

    id: str
    user: User
    created_at: float
    expires_at: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class SessionToken:
    """What a person's browser gets at sign-in: the cookie's value, shown once, and until when it counts."""

    value: str = field(repr=False)
    session_id: str
    expires_at: float
    principal: Principal


@dataclass(frozen=True, slots=True)
class Change:
    """Something that ends or alters what a credential may do. `kind` is token, session, user or role."""

    revision: int
    kind: str
    subject: str

    def concerns(self, principal: Principal) -> bool:
        """Whether what this principal was let in with is affected, so that open connections have to end."""
        known = {"token": principal.token_id, "session": principal.token_id, "user": principal.id}
        return self.subject == known.get(self.kind, principal.role)
