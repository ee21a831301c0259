"""People with a password."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from comfyops.auth import changes
from comfyops.auth.database import Database
from comfyops.auth.names import checked_name, is_name
from comfyops.auth.records import User
from comfyops.auth.roles import check_exists
from comfyops.auth.schema import sessions, setup, users
from comfyops.errors import AccountError, LastAdministratorError, WrongCredentialError

ADMINISTRATOR = "administrator"


class Users:
    """The users of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: str, password_hash: str, now: float) -> User:
        """Keep a new user. Raises AccountError for a name in use and an unknown role."""
        with self._database.writing() as connection:
            return add(connection, name, role, password_hash, now)

    def all(self) -> tuple[User, ...]:
        """Every user, by name."""
        with self._database.reading() as connection:
            return tuple(user_of(row) for row in connection.execute(select(users).order_by(users.c.name)))

    def named(self, name: str) -> User | None:
        """The user of this name; None where there is none, or it cannot be a name."""
        if not is_name(name):
            return None
        with self._database.reading() as connection:
            row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
        return user_of(row) if row is not None else None

    def disable(self, name: str, now: float, *, disabled: bool = True, keep_one: bool = False) -> User:
        """Keep a user out, with every token and session, or let one in again.

        Raises AccountError, with `keep_one` LastAdministratorError where that was the last administrator.
        """
        return self._change(name, now, keep_one=keep_one, disabled=int(disabled))

    def set_password(self, name: str, password_hash: str, now: float) -> User:
        """Give a user another password; every session of theirs ends. Raises AccountError."""
        return self._change(name, now, password_hash=password_hash)

    def set_role(self, name: str, role: str, now: float, *, keep_one: bool = False) -> User:
        """Give a user another role; their sessions end. Raises as `disable`."""
        with self._database.reading() as connection:
            check_exists(connection, role)
        return self._change(name, now, keep_one=keep_one, role=role)

    def offer_setup(self, digest: str, expires_at: float) -> None:
        """Keep the digest of the one-time secret that makes the first administrator, in place of an older one.

        Raises AccountError where there is an administrator.
        """
        with self._database.writing() as connection:
            _check_none(connection)
            connection.execute(delete(setup))
            connection.execute(insert(setup).values(digest=digest, expires_at=expires_at))

    def check_setup(self, digest: str, now: float) -> None:
        """Raises WrongCredentialError where this is not the one-time secret that counts now."""
        with self._database.reading() as connection:
            _check_offer(connection, digest, now)

    def first(self, name: str, password_hash: str, now: float, *, digest: str | None = None) -> User:
        """Make the first administrator; with a one-time secret's digest only where that one counts, and never again.

        Raises AccountError where there is an administrator, WrongCredentialError.
        """
        with self._database.writing() as connection:
            if digest is not None:
                _check_offer(connection, digest, now)
            _check_none(connection)
            connection.execute(delete(setup))
            return add(connection, name, ADMINISTRATOR, password_hash, now)

    def _change(self, name: str, now: float, *, keep_one: bool = False, **values: Any) -> User:
        with self._database.writing() as connection:
            had_one = keep_one and _has_administrator(connection)
            found = change(connection, users.c.name == name, name, now, **values)
            if had_one and not _has_administrator(connection):
                raise LastAdministratorError(f"{name!r} is the last administrator.", name=name)
            return found


def change(connection: Connection, which: ColumnElement[bool], name: str, now: float, **values: Any) -> User:
    """Change a user; every session of theirs ends. Raises AccountError where there is none."""
    row = connection.execute(update(users).where(which).values(**values).returning(*users.c)).one_or_none()
    if row is None:
        raise AccountError(f"There is no user {name!r}.", name=name)
    connection.execute(delete(sessions).where(sessions.c.user_id == row.id))
    changes.note(connection, "user", row.id, now)
    return user_of(row)


def user_of(row: Row[Any]) -> User:
    """A user from a row of the table."""
    return User(row.id, row.name, row.role, bool(row.disabled), row.created_at, row.password_hash)


def add(connection: Connection, name: str, role: str, password_hash: str, now: float) -> User:
    """Keep a new user; "" as hash is nobody's password. Raises AccountError."""
    user = User(f"usr_{secrets.token_hex(8)}", checked_name(name, "user"), role, False, now, password_hash)
    check_exists(connection, role)
    if connection.execute(select(users.c.id).where(func.lower(users.c.name) == name.lower())).first():
        raise AccountError(f"There is a user {name!r} already.", name=name)
    values = {name: getattr(user, name) for name in User.__dataclass_fields__}
    connection.execute(insert(users).values(**values))
    return user


def _has_administrator(connection: Connection) -> bool:
    who = select(users.c.id).where(users.c.role == ADMINISTRATOR, users.c.disabled == 0)
    return connection.execute(who.limit(1)).first() is not None


def _check_none(connection: Connection) -> None:
    if _has_administrator(connection):
        raise AccountError("There is an administrator already.", hint="They can make others; see `comfyops auth user`.")


def _check_offer(connection: Connection, digest: str, now: float) -> None:
    wanted = select(setup.c.digest).where(setup.c.digest == digest, setup.c.expires_at > now)
    if connection.execute(wanted).first() is None:
        raise WrongCredentialError(
            "This one-time secret does not count, or no longer.", hint="Make a new one with `comfyops auth init`."
        )
