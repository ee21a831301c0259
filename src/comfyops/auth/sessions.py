"""Who has signed in, as kept by the server. A cookie is only a key to this list."""

from __future__ import annotations

import secrets

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from comfyops.auth import changes
from comfyops.auth.database import Database
from comfyops.auth.principal import Principal
from comfyops.auth.records import Session, User
from comfyops.auth.roles import scopes_of
from comfyops.auth.schema import sessions, users
from comfyops.auth.users import user_of
from comfyops.errors import AccountError, WrongCredentialError


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

    def all(self, now: float, idle: float) -> tuple[Session, ...]:
        """Every session that counts, the last used first; `idle` is after how many seconds without use it does not."""
        wanted = select(sessions).where(sessions.c.expires_at > now, sessions.c.seen_at > now - idle)
        with self._database.reading() as connection:
            known = {row.id: user_of(row) for row in connection.execute(select(users).where(users.c.disabled == 0))}
            rows = connection.execute(wanted.order_by(sessions.c.seen_at.desc())).all()
        return tuple(
            Session(row.id, known[row.user_id], row.created_at, row.expires_at, row.seen_at)
            for row in rows
            if row.user_id in known
        )

    def end_all(self, now: float, *, session: str | None = None, user: str | None = None) -> tuple[str, ...]:
        """End a session by its id, or all sessions of a user by name; their ids.

        Raises AccountError where there is no such session, or no such user.
        """
        with self._database.writing() as connection:
            gone = connection.execute(
                delete(sessions).where(_meant(connection, session, user)).returning(sessions.c.id)
            ).scalars()
            ended = tuple(gone)
            if session is not None and not ended:
                raise AccountError(f"There is no session {session!r}.", session=session)
            for session_id in ended:
                changes.note(connection, "session", session_id, now)
        return ended


def _meant(connection: Connection, session: str | None, user: str | None) -> ColumnElement[bool]:
    if session is not None:
        return sessions.c.id == session
    owner = connection.execute(select(users.c.id).where(users.c.name == user)).scalar_one_or_none()
    if owner is None:
        raise AccountError(f"There is no user {user!r}.", name=user)
    found: ColumnElement[bool] = sessions.c.user_id == owner
    return found


def _principal(session: Session, scopes: frozenset[str]) -> Principal:
    user = session.user
    return Principal(user.id, user.name, user.role, scopes, "user", session.id)
