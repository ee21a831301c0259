"""What a gateway forgets by itself, and what it must not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.auth import credentials
from comfyops.auth.attempts import Limit
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.chain import Event
from comfyops.auth.store import Store
from comfyops.config import AuthSettings
from comfyops.errors import AuditError, StorageError
from comfyops.gateway.owners import File, Owners, julian
from comfyops.gateway.serving import Listen, serving
from comfyops.gateway.settings import BackendAddress, GatewaySettings
from comfyops.gateway.upkeep import Upkeep, forget_owners, kept_up
from comfyops.simulator import Simulator, SimulatorSettings
from tests.unit.gateway.house import ROUNDS, add_token, add_user

DAY = 86_400.0
KEPT = AuthSettings(bcrypt_rounds=ROUNDS, audit_keep=30 * DAY, owners_keep=30 * DAY)


@contextlib.contextmanager
def using(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        yield db


async def test_a_gateway_drops_old_records_and_the_rest_is_whole(tmp_path: Path) -> None:
    audited, now = AuditStore.at_home(tmp_path), time.time()
    audited.append([Event("old", now - (60 - number) * DAY) for number in range(40)])
    assert audited.verify().records == 40
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        settings = GatewaySettings((BackendAddress(simulator.url),))
        async with serving(settings, KEPT, tmp_path, Listen(port=0)), asyncio.timeout(20):
            while not audited.verify().dropped:  # noqa: ASYNC110 - it is done in a thread of the gateway
                await asyncio.sleep(0.02)
    found = audited.verify()
    assert (found.dropped, found.records) == (31, 10), "nine that are young enough, and what was dropped"
    assert audited.newest(1)[0].event.action == "audit.checkpoint"
    audited.close()


def test_a_record_that_was_tampered_with_is_kept_as_evidence(tmp_path: Path) -> None:
    audited, now = AuditStore.at_home(tmp_path), time.time()
    audited.append([Event("old", now - 60 * DAY), Event("older", now - 90 * DAY)])
    with using(tmp_path / "audit.db") as db:
        db.execute("DROP TRIGGER records_stay")
        db.execute("UPDATE records SET name = 'somebody else' WHERE seq = 1")
    with pytest.raises(AuditError):
        audited.prune(now, now)
    assert len(audited.newest(10)) == 2
    audited.close()


async def test_owners_are_forgotten_in_time_but_not_those_of_uploads(tmp_path: Path) -> None:
    path, now = tmp_path / "gateway.db", time.time()
    owners = Owners(path)
    for job in ("old", "new"):
        await owners.claim(job, "ann", "http://b")
        owners.add_files("ann", [File(kind, "", f"{job}.png") for kind in ("output", "temp", "input")])
    with using(path) as db:
        db.execute("UPDATE jobs SET at = ? WHERE id = 'old'", (julian(now - 60 * DAY),))
        db.execute("UPDATE files SET at = ? WHERE name = 'old.png'", (julian(now - 60 * DAY),))
    assert forget_owners(path, now - 30 * DAY) == 3
    assert owners.owner("old") is None and owners.owner("new") == "ann"
    known = {(kind, job) for kind in ("output", "temp", "input") for job in ("old", "new")}
    assert {(kind, job) for kind, job in known if owners.has_file("ann", File(kind, "", f"{job}.png"))} == {
        ("input", "old"),
        *((kind, "new") for kind in ("output", "temp", "input")),
    }
    assert forget_owners(path, now - 30 * DAY) == 0
    owners.close()


def test_a_file_of_owners_from_before_times_were_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with using(path) as db:
        db.execute(
            "CREATE TABLE files (owner TEXT NOT NULL, type TEXT NOT NULL, subfolder TEXT NOT NULL, name TEXT NOT NULL, "
            "PRIMARY KEY (owner, type, subfolder, name)) STRICT, WITHOUT ROWID"
        )
        db.execute("INSERT INTO files VALUES ('ann', 'output', '', 'a.png')")
    for _ in range(2):
        owners = Owners(path)
        assert owners.has_file("ann", File("output", "", "a.png"))
        owners.close()
        assert forget_owners(path, time.time() - DAY) == 0


def test_sessions_attempts_and_tokens_of_the_past_are_swept_out(tmp_path: Path) -> None:
    now = [1_000_000.0]
    store = Store(tmp_path / "auth.db", lambda: now[0])
    add_user(store, "ann", "four words of nothing", "artist")
    user = store.users.named("ann")
    assert user is not None
    for number, ends in enumerate((100.0, 1e6)):
        store.sessions.add(user, credentials.digest(str(number)), now[0], now[0] + ends)
    for name in ("gone", "stays"):
        add_token(store, name, "artist")
    store.tokens.revoke("gone", now[0])
    store.attempts.begin((Limit("account:x", 5, 30.0),), now[0])
    store.users.offer_setup("digest", now[0] + 10)
    assert store.sweep(idle=3600, keep=DAY) == 0
    now[0] += 1000
    assert store.sweep(idle=3600, keep=DAY) == 3, "a session, an attempt, a one-time secret"
    now[0] += 3000
    assert store.sweep(idle=3600, keep=DAY) == 1, "a session that nobody uses"
    now[0] += 2 * DAY
    assert store.sweep(idle=3600, keep=DAY) == 1
    assert [token.name for token in store.tokens.all()] == ["stays"]
    store.close()


async def test_what_cannot_be_done_is_logged_and_the_gateway_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, audited = Store.at_home(tmp_path), AuditStore.at_home(tmp_path)
    broken = tmp_path / "gateway.db"
    broken.write_bytes(b"no database" * 100)
    upkeep = Upkeep(store, audited, broken, KEPT)
    with pytest.raises(StorageError):
        upkeep.round()
    with caplog.at_level(logging.ERROR):
        async with kept_up(upkeep), asyncio.timeout(20):
            while "upkeep" not in caplog.text:  # noqa: ASYNC110 - it is done in a thread
                await asyncio.sleep(0.02)
    store.close()
    audited.close()
