"""Roles: those that come with ComfyOps, and those that an administrator makes from scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, insert, select

from comfyops.auth import changes, scopes
from comfyops.auth.database import Database
from comfyops.auth.names import checked_name
from comfyops.auth.schema import roles, tokens, users
from comfyops.errors import AccountError

FIXED = ("administrator", "guest")
"""Roles that nobody can change."""


class Roles:
    """The roles of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Mapping[str, frozenset[str]]:
        """Every role and its scopes."""
        with self._database.reading() as connection:
            return _all(connection)

    def set(self, name: str, wanted: Iterable[str], now: float) -> frozenset[str]:
        """Make a role, or give it other scopes, at once for everybody who has it.

        Raises AccountError for an unknown scope and for a role that cannot be changed.
        """
        given = frozenset(wanted)
        _check(checked_name(name, "role"), given)
        with self._database.writing() as connection:
            connection.execute(delete(roles).where(roles.c.name == name))
            connection.execute(insert(roles).values(name=name, scopes=" ".join(sorted(given))))
            changes.note(connection, "role", name, now)
        return given

    def remove(self, name: str, now: float) -> None:
        """Forget a role of one's own; a changed one of ComfyOps's gets its scopes back. Raises AccountError."""
        with self._database.writing() as connection:
            if name not in scopes.ROLES and _in_use(connection, name):
                raise AccountError(f"The role {name!r} is in use.", role=name)
            if not connection.execute(delete(roles).where(roles.c.name == name)).rowcount:
                raise AccountError(f"There is no role {name!r} that could be removed.", role=name)
            changes.note(connection, "role", name, now)


def scopes_of(connection: Connection, name: str) -> frozenset[str]:
    """The scopes of a role; none where it is gone."""
    stored = connection.execute(select(roles.c.scopes).where(roles.c.name == name)).scalar_one_or_none()
    return scopes.ROLES.get(name, frozenset()) if stored is None else frozenset(stored.split())


def check_exists(connection: Connection, name: str) -> None:
    """Raises AccountError where there is no such role."""
    known = _all(connection)
    if name not in known:
        raise AccountError(f"There is no role {name!r}; there are {', '.join(known)}.", role=name)


def _all(connection: Connection) -> dict[str, frozenset[str]]:
    stored = {row.name: frozenset(row.scopes.split()) for row in connection.execute(select(roles))}
    return {**scopes.ROLES, **stored}


def _check(name: str, given: frozenset[str]) -> None:
    if name in FIXED:
        raise AccountError(f"The role {name!r} cannot be changed.", role=name)
    unknown = sorted(given - set(scopes.MEANINGS))
    if unknown:
        known = ", ".join(scopes.MEANINGS)
        raise AccountError(f"There is no scope {unknown[0]!r}; there are {known}.", scopes=unknown)


def _in_use(connection: Connection, name: str) -> bool:
    held = (
        select(users.c.id)
        .where(users.c.role == name)
        .union_all(select(tokens.c.id).where(tokens.c.role == name, tokens.c.revoked_at.is_(None)))
    )
    return connection.execute(held.limit(1)).first() is not None
