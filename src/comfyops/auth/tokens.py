"""API tokens as they are kept: an id that finds them, a hash of the secret, a role, an end."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from comfyops.auth import changes
from comfyops.auth.database import Database
from comfyops.auth.names import checked_name
from comfyops.auth.principal import Principal
from comfyops.auth.records import Token
from comfyops.auth.roles import check_exists, scopes_of
from comfyops.auth.schema import tokens, users
from comfyops.errors import AccountError


class Tokens:
    """The tokens of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token, now: float, *, user: str | None = None) -> Token:
        """Keep a new token; of a user, by name, it gets that user as its owner.

        Raises AccountError for a name in use, an unknown role and an unknown user.
        """
        checked_name(token.name, "token")
        with self._database.writing() as connection:
            check_exists(connection, token.role)
            owner = _user_id(connection, user) if user else token.owner
            if _in_use(connection, token.name, now):
                raise AccountError(f"There is a token {token.name!r} already.", name=token.name)
            kept = replace(token, owner=owner)
            connection.execute(insert(tokens).values(**_values(kept), user_id=owner if user else None))
        return kept

    def all(self) -> tuple[Token, ...]:
        """Every token that ever was, oldest first."""
        with self._database.reading() as connection:
            return tuple(_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at)))

    def find(self, token_id: str) -> tuple[Token, Principal | None] | None:
        """A token and whom it lets in (nobody where its user is disabled); None where there is no such id."""
        with self._database.reading() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == token_id)).one_or_none()
            if row is None:
                return None
            return _token(row), _principal(connection, row)

    def revoke(self, name: str, now: float) -> tuple[Token, ...]:
        """End the token of this name, or of this id. Raises AccountError where there is none in use."""
        with self._database.writing() as connection:
            found = self._named(connection, name)
            for token in found:
                _end(connection, token.id, now)
        return tuple(replace(token, revoked_at=now) for token in found)

    def rotate(self, name: str, fresh: Token, now: float, overlap: float = 0.0) -> Token:
        """Put a fresh secret in the place of a token's; the old one ends after `overlap` seconds.

        Name, owner, role and end stay. Raises AccountError where there is no such token in use.
        """
        with self._database.writing() as connection:
            (old,) = self._named(connection, name)[:1]
            if not old.usable(now):
                raise AccountError(f"The token {name!r} has expired.", hint="Make another one of this name.", name=name)
            user_id = connection.execute(select(tokens.c.user_id).where(tokens.c.id == old.id)).scalar_one()
            if overlap > 0:
                _retire(connection, old, now + overlap, now)
            else:
                _end(connection, old.id, now)
            kept = replace(fresh, name=old.name, owner=old.owner, role=old.role, expires_at=old.expires_at)
            connection.execute(insert(tokens).values(**_values(kept), user_id=user_id))
        return kept

    def _named(self, connection: Connection, name: str) -> tuple[Token, ...]:
        wanted = (tokens.c.name == name) | (tokens.c.id == name)
        rows = connection.execute(select(tokens).where(wanted, tokens.c.revoked_at.is_(None))).all()
        if not rows:
            raise AccountError(f"There is no token {name!r} in use.", name=name)
        return tuple(_token(row) for row in rows)


def new_owner() -> str:
    """An id for what belongs to no user."""
    return f"own_{secrets.token_hex(8)}"


def _in_use(connection: Connection, name: str, now: float) -> bool:
    """Whether a token of this name counts; one that has expired gives its name up."""
    wanted = select(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
    row = connection.execute(wanted).one_or_none()
    if row is None or _token(row).usable(now):
        return row is not None
    _end(connection, row.id, now)
    return False


def _end(connection: Connection, token_id: str, now: float) -> None:
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=now))
    changes.note(connection, "token", token_id, now)


def _retire(connection: Connection, token: Token, ends: float, now: float) -> None:
    """Let a token count a little longer, under a name that frees its own."""
    ends = ends if token.expires_at is None else min(ends, token.expires_at)
    values = {"name": f"{token.name}~{token.id}", "expires_at": ends}
    connection.execute(update(tokens).where(tokens.c.id == token.id).values(**values))
    changes.note(connection, "token", token.id, now)


def _user_id(connection: Connection, name: str) -> str:
    found = connection.execute(select(users.c.id).where(users.c.name == name)).scalar_one_or_none()
    if found is None:
        raise AccountError(f"There is no user {name!r}.", name=name)
    return str(found)


def _principal(connection: Connection, row: Row[Any]) -> Principal | None:
    """Whom a token lets in: one of a user may never do more than its user may now."""
    given = scopes_of(connection, row.role)
    if row.user_id is not None:
        user = connection.execute(select(users.c.disabled, users.c.role).where(users.c.id == row.user_id)).one()
        if user.disabled:
            return None
        given &= scopes_of(connection, user.role)
    return Principal(row.owner, row.name, row.role, given, "token", row.id)


def _values(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.__dataclass_fields__}


def _token(row: Row[Any]) -> Token:
    return Token(**{name: getattr(row, name) for name in Token.__dataclass_fields__})
