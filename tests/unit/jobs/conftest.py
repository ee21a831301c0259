"""A database of each kind for the tests of the queue. PostgreSQL runs for a session, as nobody but itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from comfyops.jobs.queue import Queue
from tests.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A server of this session; skipped where PostgreSQL is not installed."""
    with PostgreSQL.started() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database: "" for SQLite's own file."""
    return address_of(request)


def address_of(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        return ""
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.with_tables()


@pytest.fixture
async def queue(database: str, tmp_path: Path) -> AsyncIterator[Queue]:
    """An empty queue."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(await asyncio.to_thread(Queue, database, tmp_path / "queue"))
