"""A store of its own for each test, with cheap hashes and a clock that tests can set forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from comfyops.auth.administration import Administration
from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.store import Store
from comfyops.config import AuthSettings

PASSWORD = "four words that stay"
CHEAP = 4  # rounds of bcrypt


class Clock:
    """Seconds since the epoch, set forward by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store(tmp_path / "auth.db", clock)
    yield opened
    opened.close()


@pytest.fixture
def audit_store(tmp_path: Path) -> Iterator[AuditStore]:
    opened = AuditStore(tmp_path / "audit.db")
    yield opened
    opened.close()


@pytest.fixture
def administration(store: Store, audit_store: AuditStore, clock: Clock) -> Iterator[Administration]:
    with AuditLog(audit_store, clock) as audit:
        yield Administration(store, audit, "test", CHEAP)


@pytest.fixture
def settings() -> AuthSettings:
    return AuthSettings(bcrypt_rounds=CHEAP, max_login_attempts=3, session_lifetime=1000.0, session_idle=100.0)


@pytest.fixture
async def gate(store: Store, settings: AuthSettings) -> AsyncIterator[Authenticator]:
    opened = Authenticator(store, settings)
    yield opened
    opened.close()
