"""Backups: byte for byte, for the right passphrase only, and nothing half restored."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.auth.secrets import backups, model, private_files
from comfyops.auth.secrets.model import Target
from comfyops.auth.secrets.store import Store
from comfyops.errors import PassphraseError, SecretsError
from tests.unit.auth.secrets.values import HASH, PASSWORD, TOKEN, document

WORDS = "correct horse battery"
ENV = b"# caf\xe9\r\nA='x'\r\nOTHER=$B"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A document with two targets, one of which is there."""
    targets = (Target(".env", "env", {"A": "worker.value"}, 0o640), Target("t", "token", {"token": "worker.value"}))
    made = Store(tmp_path / ".secrets" / "comfyops.yaml")
    made.save(document(*targets))
    private_files.write(tmp_path / ".env", ENV, 0o640)
    return made


def restore(store: Store, kept: tuple[backups.Kept, ...], *, outside: bool = False) -> tuple[Path, ...]:
    with backups.restoring(store, kept, outside=outside) as put:
        return put()


@pytest.mark.parametrize("words", [None, WORDS])
def test_a_restore_brings_back_every_byte_and_mode(store: Store, words: str | None) -> None:
    before = store.file.read_bytes()
    path = backups.write(store, words)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.file.unlink()
    private_files.write(store.root / ".env", b"gone", 0o600)
    written = restore(store, backups.read(path, words))
    assert store.file.read_bytes() == before and (store.root / ".env").read_bytes() == ENV
    assert stat.S_IMODE((store.root / ".env").stat().st_mode) == 0o640 and len(written) == 2
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600 and not (store.root / "t").exists()


def test_an_encrypted_backup_shows_nothing(store: Store) -> None:
    data = backups.write(store, WORDS).read_bytes()
    assert not any(value.encode() in data for value in (HASH, PASSWORD, TOKEN, "OTHER", "comfyops.yaml"))
    assert backups.write(store, WORDS).read_bytes()[-64:] != data[-64:]


@pytest.mark.parametrize("words", [None, "wrong horse battery", ""])
def test_a_wrong_passphrase_is_refused(store: Store, words: str | None) -> None:
    path = backups.write(store, WORDS)
    with pytest.raises(PassphraseError):
        backups.read(path, words)


@settings(deadline=None, max_examples=25)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(at: int, bit: int) -> None:
    data = bytearray(SEALED)
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(PassphraseError):
        backups.opened(bytes(data), WORDS)


SEALED = backups.seal(b"something", WORDS)


@pytest.mark.parametrize("cost", [2**30, float("inf"), 3, "NaN", None])
def test_a_head_with_an_impossible_cost_is_refused(cost: object) -> None:
    line, found, rest = SEALED.partition(b"\n")
    head = json.loads(line) | {"n": cost}
    with pytest.raises(PassphraseError, match="head"):
        backups.opened(json.dumps(head).encode() + found + rest, WORDS)


def test_a_passphrase_may_be_any_bytes(store: Store) -> None:
    """A variable of the environment that is no UTF-8 comes as such a text."""
    words = b"caf\xe9 with enough".decode("utf-8", "surrogateescape")
    assert backups.read(backups.write(store, words), words) == backups.read(backups.write(store, None), None)


@pytest.mark.parametrize("mode", [0o7777, 0, -1, 10**400])
def test_a_changed_mode_opens_nothing(store: Store, mode: int) -> None:
    path = backups.write(store, None)
    value = json.loads(path.read_bytes())
    for item in value["files"]:
        item["mode"] = mode
    path.write_text(json.dumps(value))
    restore(store, backups.read(path, None))
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    assert stat.S_IMODE((store.root / ".env").stat().st_mode) in (0o400, 0o640)


def test_a_short_passphrase_is_refused(store: Store) -> None:
    with pytest.raises(PassphraseError, match="shorter"):
        backups.write(store, "short")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"schema": "x"}', b"[" * 99_999])
def test_what_is_no_backup_is_refused(store: Store, data: bytes) -> None:
    path = store.root / "other"
    path.write_bytes(data)
    with pytest.raises(SecretsError):
        backups.read(path, None)


def test_a_damaged_backup_is_refused_whole(store: Store) -> None:
    path = backups.write(store, None)
    value = json.loads(path.read_bytes())
    value["files"][1]["data"] = value["files"][0]["data"]
    path.write_text(json.dumps(value))
    with pytest.raises(SecretsError, match="no whole backup"):
        backups.read(path, None)
    value["files"][1] |= {"data": "", "sha256": hashlib.sha256(b"").hexdigest(), "mode": float("inf")}
    path.write_text(json.dumps(value))
    with pytest.raises(SecretsError, match="no whole backup"):
        backups.read(path, None)


def test_a_file_that_the_document_does_not_name_is_not_written(store: Store) -> None:
    kept = (*backups.read(backups.write(store, None), None), backups.Kept("../evil", b"x", 0o600))
    store.file.unlink()
    with pytest.raises(SecretsError, match="does not name"):
        restore(store, kept)
    assert not store.file.exists() and not (store.root.parent / "evil").exists()


def test_targets_outside_of_the_root_are_restored_when_asked_for(store: Store, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    store.save(document(Target(str(outside), "token", {"token": "worker.value"})))
    private_files.write(outside, b"x")
    kept = backups.read(backups.write(store, None), None)
    private_files.write(outside, b"y")
    with pytest.raises(SecretsError, match="outside"):
        restore(store, kept)
    assert outside.read_bytes() == b"y"
    restore(store, kept, outside=True)
    assert outside.read_bytes() == b"x"


def test_only_the_newest_backups_are_kept(store: Store) -> None:
    made = [backups.write(store, None) for _ in range(4)]
    backups.prune(store, keep=2)
    assert sorted((store.folder / "backups").iterdir()) == made[2:] and backups.newest(store) == made[3]
    assert model.loads(store.file.read_bytes()) == store.load()
