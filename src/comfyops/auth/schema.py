"""The tables of `auth.db`, and the numbered steps that bring an older file to them. Times are seconds since the epoch.

A step is never changed once released; a new one is added at the end. A test compares the tables that the steps make
with those declared here.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Connection, Float, ForeignKey, Integer, MetaData, String, Table, text

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("password_hash", String, nullable=False),
    Column("disabled", Integer, CheckConstraint("disabled IN (0, 1)"), nullable=False),
    Column("created_at", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("user_id", String, ForeignKey("users.id")),
    Column("role", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),
    Column("user_id", String, ForeignKey("users.id"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)

roles = Table(
    "roles",
    metadata,
    Column("name", String, primary_key=True),
    Column("scopes", String, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("subject", String, primary_key=True),
    Column("failures", Integer, CheckConstraint("failures >= 0"), nullable=False),
    Column("last_at", Float, nullable=False),
    Column("blocked_until", Float, nullable=False),
)

setup = Table(
    "setup",
    metadata,
    Column("digest", String, primary_key=True),
    Column("expires_at", Float, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("user_id", String, ForeignKey("users.id"), nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("kind", String, CheckConstraint("kind IN ('token', 'session', 'user', 'role')"), nullable=False),
    Column("subject", String, nullable=False),
    sqlite_autoincrement=True,
)

_FIRST = (
    """CREATE TABLE users (id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, role VARCHAR NOT NULL,
        password_hash VARCHAR NOT NULL, disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
        created_at FLOAT NOT NULL)""",
    """CREATE TABLE tokens (id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, owner VARCHAR NOT NULL,
        user_id VARCHAR REFERENCES users (id), role VARCHAR NOT NULL, hash VARCHAR NOT NULL,
        created_at FLOAT NOT NULL, expires_at FLOAT, revoked_at FLOAT)""",
    "CREATE UNIQUE INDEX tokens_in_use ON tokens (name) WHERE revoked_at IS NULL",
    """CREATE TABLE sessions (id VARCHAR NOT NULL PRIMARY KEY, digest VARCHAR NOT NULL UNIQUE,
        user_id VARCHAR NOT NULL REFERENCES users (id), created_at FLOAT NOT NULL, expires_at FLOAT NOT NULL,
        seen_at FLOAT NOT NULL)""",
    "CREATE TABLE roles (name VARCHAR NOT NULL PRIMARY KEY, scopes VARCHAR NOT NULL)",
    """CREATE TABLE attempts (subject VARCHAR NOT NULL PRIMARY KEY, failures INTEGER NOT NULL CHECK (failures >= 0),
        last_at FLOAT NOT NULL, blocked_until FLOAT NOT NULL)""",
    "CREATE TABLE setup (digest VARCHAR NOT NULL PRIMARY KEY, expires_at FLOAT NOT NULL)",
    """CREATE TABLE changes (revision INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at FLOAT NOT NULL,
        kind VARCHAR NOT NULL CHECK (kind IN ('token', 'session', 'user', 'role')), subject VARCHAR NOT NULL)""",
)

_IDENTITIES = (
    """CREATE TABLE identities (issuer VARCHAR NOT NULL, subject VARCHAR NOT NULL,
        user_id VARCHAR NOT NULL REFERENCES users (id), PRIMARY KEY (issuer, subject))""",
)

STEPS: tuple[tuple[str, ...], ...] = (_FIRST, _IDENTITIES)
"""What each version adds to the one before; version 1 is the first."""


def migrate(connection: Connection) -> int:
    """Bring a database to the newest version, inside the caller's transaction; its version before is returned."""
    before: int = connection.execute(text("PRAGMA user_version")).scalar_one()
    for step in STEPS[before:]:
        for statement in step:
            connection.execute(text(statement))
    if before < len(STEPS):
        connection.execute(text(f"PRAGMA user_version = {len(STEPS)}"))
    return before
