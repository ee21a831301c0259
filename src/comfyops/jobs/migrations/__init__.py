"""Bringing a database to the newest schema: numbered steps in `versions`, never changed once released."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from comfyops.errors import DatabaseError

NEWEST = "0003"
VERSIONS = ("0001", "0002", "0003")
TABLE = "comfyops_version"
_LOCK = 4_711_006  # of PostgreSQL: one process brings a database up to date at a time


def upgrade(engine: Engine) -> None:
    """Bring a database to the newest schema. Raises DatabaseError where it is of a newer ComfyOps."""
    with engine.connect() as plain:
        if _version(plain) == NEWEST:
            return
    with engine.connect() as plain:
        connection = plain.execution_options(writing=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            version = _version(connection)
            if version not in (None, *VERSIONS):
                raise DatabaseError(
                    "The database of the queue was written by a newer ComfyOps.", hint="Update ComfyOps."
                )
            if version != NEWEST:
                _run(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar()


def _run(connection: Connection) -> None:
    from alembic import command  # takes long to import, and is needed once in the life of a database
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "comfyops.jobs:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
