"""Everything that access depends on, in one SQLite file of mode 0600 that many processes may use at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete

from comfyops.auth import changes, schema
from comfyops.auth.attempts import FORGOTTEN, Attempts
from comfyops.auth.database import Database
from comfyops.auth.identities import Identities
from comfyops.auth.records import Change
from comfyops.auth.roles import Roles
from comfyops.auth.sessions import Sessions
from comfyops.auth.tokens import Tokens
from comfyops.auth.users import Users
from comfyops.errors import StorageError

FILE = "auth.db"


class Store:
    """Users, tokens, sessions, roles and wrong attempts. Its methods block; `Authenticator` calls them in threads.

    `clock` gives seconds since the epoch. Raises StorageError where the file cannot be used or is of a newer ComfyOps.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._database = Database(path)
        self.users = Users(self._database)
        self.identities = Identities(self._database)
        self.tokens = Tokens(self._database)
        self.sessions = Sessions(self._database)
        self.roles = Roles(self._database)
        self.attempts = Attempts(self._database)
        self._prepare()

    @classmethod
    def at_home(cls, home: Path) -> Store:
        """The store in the folder of the settings (`config.home`)."""
        return cls(home.expanduser() / FILE)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def revision(self) -> int:
        """A number that grows with each change to what a credential may do, whoever made it."""
        with self._database.reading() as connection:
            return changes.newest(connection)

    def changes_since(self, revision: int) -> tuple[Change, ...]:
        """What changed after a revision, oldest first."""
        with self._database.reading() as connection:
            return changes.since(connection, revision)

    def sweep(self, idle: float, keep: float) -> int:
        """Forget what no longer counts; how many rows. Times are in seconds.

        That is sessions that have ended or were idle for so long, wrong attempts and one-time secrets of the past,
        and tokens that ended `keep` seconds ago.
        """
        now = self.clock()
        sessions, tokens, setup = schema.sessions.c, schema.tokens.c, schema.setup
        gone = (
            delete(schema.sessions).where((sessions.expires_at <= now) | (sessions.seen_at <= now - idle)),
            delete(schema.tokens).where((tokens.revoked_at < now - keep) | (tokens.expires_at < now - keep)),
            delete(setup).where(setup.c.expires_at <= now),
            delete(schema.attempts).where(schema.attempts.c.last_at < now - FORGOTTEN),
        )
        with self._database.writing() as connection:
            return sum(connection.execute(statement).rowcount for statement in gone)

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    def _prepare(self) -> None:
        with self._database.writing() as connection:
            if schema.migrate(connection) > len(schema.STEPS):
                raise StorageError(f"{self.path} was written by a newer ComfyOps.", hint="Update ComfyOps.")
