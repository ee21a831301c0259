"""People whom somebody else vouches for: a provider's subject, and the user here that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from comfyops.auth.database import Database
from comfyops.auth.records import User
from comfyops.auth.roles import check_exists
from comfyops.auth.schema import identities, users
from comfyops.auth.users import add, change, user_of
from comfyops.errors import AccountError, WrongCredentialError


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody at a provider: only `issuer` and `subject` together say who it is, a name may change hands."""

    issuer: str
    subject: str


class Identities:
    """The identities of a database; `now` is the time in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def admit(self, who: Identity, name: str, role: str, now: float) -> tuple[User, bool]:
        """The user of an identity, with this role from now on, and whether it was made just now.

        A user who is there already under that name is never taken over. Raises WrongCredentialError where the user
        is disabled, AccountError for an unknown role and a name in use.
        """
        with self._database.writing() as connection:
            check_exists(connection, role)
            found = _user(connection, who)
            if found is None:
                return _made(connection, who, name, role, now), True
            if found.disabled:
                raise WrongCredentialError("This account is disabled.", hint="Ask an administrator.")
            if found.role != role:
                found = change(connection, users.c.id == found.id, found.name, now, role=role)
            return found, False

    def dismiss(self, who: Identity, now: float) -> User | None:
        """End every session of the user of an identity; None where there is none."""
        with self._database.writing() as connection:
            found = _user(connection, who)
            return found and change(connection, users.c.id == found.id, found.name, now, role=found.role)


def _user(connection: Connection, who: Identity) -> User | None:
    mine = (identities.c.issuer == who.issuer) & (identities.c.subject == who.subject)
    row = connection.execute(select(users).join(identities).where(mine)).one_or_none()
    return user_of(row) if row is not None else None


def _made(connection: Connection, who: Identity, name: str, role: str, now: float) -> User:
    try:
        user = add(connection, name, role, "", now)
    except AccountError as error:
        hint = "An administrator can see to it: `comfyops auth user ls` shows who has it."
        raise AccountError(f"No account could be made: {error.message}", hint=hint, name=name) from error
    connection.execute(insert(identities).values(issuer=who.issuer, subject=who.subject, user_id=user.id))
    return user
