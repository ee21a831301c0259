"""Who has signed in, as kept by the server. A cookie is only a key to this list."""

from __future__ import annotations

import secrets

from sqlalchemy import delete, insert, select, update

from comfyops.auth import changes
from comfyops.auth.database import Database
from comfyops.auth.principal import Principal
from comfyops.auth.records import Session, User
from comfyops.auth.roles import scopes_of
from comfyops.auth.schema import sessions, users
from comfyops.auth.users import user_of
from comfyops.errors import WrongCredentialError


class Sessions:
    """The sessions of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user: User, digest: str, now: float, expires_at: float) -> tuple[Session, Principal]:
        """Keep a new session, found by the digest of its cookie; sessions that have ended are swept out.

        Raises WrongCredentialError where the user was changed since their password was looked at.
        """
        session = Session(f"ses_{secrets.token_hex(8)}", user, now, expires_at, now)
        with self._database.writing() as connection:
            if user_of(connection.execute(select(users).where(users.c.id == user.id)).one()) != user:
                raise WrongCredentialError("The user was changed meanwhile; sign in again.")
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(
                insert(sessions).values(
                    id=session.id,
                    digest=digest,
                    user_id=user.id,
                    created_at=now,
                    expires_at=expires_at,
                    seen_at=now,
                )
            )
            return session, _principal(session, scopes_of(connection, user.role))

    def find(self, digest: str) -> tuple[Session, Principal] | None:
        """The session of a cookie and whom it lets in; None where there is none or its user is disabled."""
        with self._database.reading() as connection:
            row = connection.execute(select(sessions).where(sessions.c.digest == digest)).one_or_none()
            if row is None:
                return None
            user = user_of(connection.execute(select(users).where(users.c.id == row.user_id)).one())
            if user.disabled:
                return None
            session = Session(row.id, user, row.created_at, row.expires_at, row.seen_at)
            return session, _principal(session, scopes_of(connection, user.role))

    def touch(self, session_id: str, now: float) -> None:
        """Write down that a session was used."""
        with self._database.writing() as connection:
            newer = update(sessions).where(sessions.c.id == session_id, sessions.c.seen_at < now)
            connection.execute(newer.values(seen_at=now))

    def end(self, digest: str, now: float) -> str | None:
        """End the session of a cookie; its id, None where there was none."""
        with self._database.writing() as connection:
            gone = connection.execute(
                delete(sessions).where(sessions.c.digest == digest).returning(sessions.c.id)
            ).scalar_one_or_none()
            if gone is not None:
                changes.note(connection, "session", gone, now)
        return gone


def _principal(session: Session, scopes: frozenset[str]) -> Principal:
    user = session.user
    return Principal(user.id, user.name, user.role, scopes, "user", session.id)
