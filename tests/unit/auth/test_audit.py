"""The record of who did what: whole, quick, and nothing can be taken out unseen."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comfyops.auth import chain
from comfyops.auth.audit import AuditLog
from comfyops.auth.audit_store import AuditStore
from comfyops.auth.chain import Link
from comfyops.auth.principal import Principal
from comfyops.errors import AuditError, StorageError
from tests.unit.auth.conftest import Clock

ANN = Principal("usr_1", "ann", "artist", frozenset(), "token", "abc123")


def filled(store: AuditStore, clock: Clock, number: int = 10) -> None:
    with AuditLog(store, clock) as audit:
        for count in range(number):
            clock.now += 1
            audit.record("job.submit", ANN, address="192.0.2.1", target=f"job-{count}", details={"nodes": count})


def tampered(store: AuditStore, *statements: str) -> None:
    """What somebody who can write the file does, triggers or not."""
    with sqlite3.connect(store_path(store)) as connection:
        for statement in ("DROP TRIGGER records_stay", "DROP TRIGGER records_kept", *statements):
            connection.execute(statement)
    connection.close()


def store_path(store: AuditStore) -> Path:
    return store._database.path


def test_records_are_kept_in_order_and_found(audit_store: AuditStore, clock: Clock) -> None:
    filled(audit_store, clock)
    with AuditLog(audit_store, clock) as audit:
        audit.record("job.submit", None, address="203.0.113.9", allowed=False, reason="no credential")
    newest = audit_store.newest(100)
    assert [record.seq for record in newest] == list(range(11, 0, -1))
    assert [record.event.target for record in audit_store.newest(2, actor="ann")] == ["job-9", "job-8"]
    (refused,) = audit_store.newest(100, refused=True)
    assert (refused.event.address, refused.event.reason) == ("203.0.113.9", "no credential")
    event = newest[1].event
    assert (event.actor, event.name, event.token_id, dict(event.details)) == ("usr_1", "ann", "abc123", {"nodes": 9})
    assert audit_store.newest(5, action="auth.") == ()


def test_a_whole_chain_is_verified(audit_store: AuditStore, clock: Clock) -> None:
    assert audit_store.verify().records == 0
    filled(audit_store, clock)
    found = audit_store.verify()
    assert (found.records, found.seq) == (10, 10) and found.hash == audit_store.newest(1)[0].hash
    filled(audit_store, clock, 3)
    assert audit_store.verify(head=found.hash).records == 13


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE records SET target = 'other' WHERE seq = 4", 4),
        ("UPDATE records SET allowed = 0 WHERE seq = 4", 4),
        ("UPDATE records SET at = at + 0.001 WHERE seq = 4", 4),
        ("UPDATE records SET details = '{}' WHERE seq = 4", 4),
        ("UPDATE records SET details = '{' WHERE seq = 4", 4),
        ("UPDATE records SET details = '[1]' WHERE seq = 4", 4),
        ("UPDATE records SET details = x'ff' WHERE seq = 4", 4),
        ("UPDATE records SET allowed = 'no' WHERE seq = 4", 4),
        ("UPDATE records SET at = 'then' WHERE seq = 4", 4),
        ("UPDATE records SET token_id = '' WHERE seq = 1", 1),
        ("DELETE FROM records WHERE seq = 4", 4),
        ("DELETE FROM records WHERE seq = 1", 1),
        ("DELETE FROM records WHERE seq > 8", 9),
        ("DELETE FROM records", 1),
        ("UPDATE records SET seq = CASE seq WHEN 4 THEN 50 ELSE seq END", 4),
        ("INSERT INTO records SELECT 11, at, action, actor, name, token_id, address, target, allowed, reason, details, "
         "previous, hash FROM records WHERE seq = 10", 11),
    ],
)  # fmt: skip
def test_tampering_is_found_and_the_place_is_named(
    audit_store: AuditStore, clock: Clock, statement: str, seq: int
) -> None:
    filled(audit_store, clock)
    tampered(audit_store, statement)
    with pytest.raises(AuditError) as caught:
        audit_store.verify()
    assert caught.value.facts["seq"] == seq
    with pytest.raises(AuditError):
        audit_store.prune(clock.now, clock.now)


def test_a_checkpoint_that_nobody_recorded_is_found(audit_store: AuditStore, clock: Clock) -> None:
    """Who takes the oldest records away cannot say that it was retention."""
    filled(audit_store, clock)
    forged = "INSERT INTO links SELECT 'checkpoint', seq, hash FROM records WHERE seq = 4"
    tampered(audit_store, forged, "DELETE FROM records WHERE seq <= 4")
    with pytest.raises(AuditError, match="no record says"):
        audit_store.verify()


def test_a_clock_that_was_wrong_costs_no_young_record(audit_store: AuditStore, clock: Clock) -> None:
    filled(audit_store, clock)
    right, clock.now = clock.now, 1.0
    filled(audit_store, clock, 1)
    clock.now = right
    filled(audit_store, clock, 2)
    assert audit_store.prune(right - 4.5, right) == 5
    assert audit_store.verify().dropped == 5 and len(audit_store.newest(100)) == 5 + 1 + 2 + 1
    assert audit_store.prune(right + 99, right + 100) == 9  # all of them, and what was recorded of the first time
    assert audit_store.verify().records == 1


def test_a_chain_made_anew_is_found_by_a_hash_noted_elsewhere(audit_store: AuditStore, clock: Clock) -> None:
    filled(audit_store, clock)
    noted = audit_store.verify().hash
    tampered(audit_store, "DELETE FROM records", "DELETE FROM links")
    filled(audit_store, clock)
    assert audit_store.verify().records == 10
    with pytest.raises(AuditError):
        audit_store.verify(head=noted)


def test_the_database_itself_refuses_to_change_records(audit_store: AuditStore, clock: Clock) -> None:
    filled(audit_store, clock)
    connection = sqlite3.connect(store_path(audit_store))
    for statement in ("UPDATE records SET actor = 'x'", "DELETE FROM records WHERE seq = 10"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_retention_keeps_the_rest_verifiable(audit_store: AuditStore, clock: Clock) -> None:
    start = clock.now
    filled(audit_store, clock)
    assert audit_store.prune(start + 4.5, clock.now) == 4
    found = audit_store.verify()
    assert (found.records, found.seq, found.dropped) == (7, 11, 4)
    checkpoint = audit_store.newest(1)[0].event
    assert checkpoint.action == "audit.checkpoint" and checkpoint.details["records"] == 4
    assert audit_store.prune(start + 4.5, clock.now) == 0
    filled(audit_store, clock, 2)
    assert audit_store.prune(start + 8.5, clock.now) == 4 and audit_store.verify().dropped == 8
    tampered(audit_store, "DELETE FROM records WHERE seq = 9")
    with pytest.raises(AuditError):
        audit_store.verify()


def test_an_export_can_be_verified_without_the_database(audit_store: AuditStore, clock: Clock) -> None:
    filled(audit_store, clock)
    lines: list[str] = []
    assert audit_store.export(lines.append) == 10
    records = [chain.parse(line) for line in lines]
    assert chain.verified(records, Link()) == Link(10, audit_store.verify().hash)
    with pytest.raises(AuditError):
        chain.verified(records[:4] + records[5:], Link())
    with pytest.raises(AuditError):
        chain.parse(json.dumps({"seq": 1}))


def test_several_processes_write_one_chain(audit_store: AuditStore, clock: Clock) -> None:
    code = (
        "import sys; from pathlib import Path; from comfyops.auth.audit import AuditLog\n"
        "from comfyops.auth.audit_store import AuditStore\n"
        "with AuditLog(AuditStore(Path(sys.argv[1]))) as audit:\n"
        "    for count in range(50): audit.record('a', target=str(count)); audit.flush() if count % 10 == 0 else None\n"
    )
    command = [sys.executable, "-c", code, str(store_path(audit_store))]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert audit_store.verify().records == 150


def test_recording_costs_little_and_closing_loses_nothing(audit_store: AuditStore) -> None:
    audit = AuditLog(audit_store)
    started = time.process_time()
    for count in range(2000):
        audit.record("job.submit", ANN, target=str(count))
    spent = time.process_time() - started
    audit.close()
    assert audit_store.verify().records == 2000 and spent / 2000 < 0.001
    with pytest.raises(StorageError):
        audit.record("job.submit", ANN)


def test_whatever_is_recorded_the_writer_lives_on(audit_store: AuditStore, clock: Clock) -> None:
    with AuditLog(audit_store, clock) as audit:
        audit.record(
            "\ud800" * 3, target="x" * 10_000, reason="\0", details={"n": float("inf"), "o": object(), "b": b"x"}
        )
        assert audit.flush()
        audit.record("after")
    assert audit_store.verify().records == 2 and len(audit_store.newest(2)[1].event.target) == 500


def test_records_hold_no_secret(audit_store: AuditStore, clock: Clock) -> None:
    secret = "cops_0123456789abcdef_" + "q" * 43
    with AuditLog(audit_store, clock) as audit:
        audit.record(
            secret, target=f"/ws?token={secret}", reason=f"Bearer {secret}", details={"token": "xyz", "a": [secret]}
        )
    assert b"qqqq" not in store_path(audit_store).read_bytes()
    wal = store_path(audit_store).with_name("audit.db-wal")
    assert not wal.exists() or b"qqqq" not in wal.read_bytes()
    assert audit_store.newest(1)[0].event.details["token"] == "****"
