"""The journal, the partial file, and the lock beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from comfyops.errors import DownloadCancelledError, StorageError
from comfyops.models.transfer import journal
from comfyops.models.transfer.hasher import FrontierHash, sha256_of
from comfyops.models.transfer.journal import Journal
from comfyops.models.transfer.partial import Partial, leftovers, places
from comfyops.support.locks import locked

SHA = "ab" * 32
STATE = Journal(SHA, 1000, "https://a", '"e"', "boot-1", written=((0, 500), (600, 700)), synced=((0, 200),))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert journal.save(path, STATE) and journal.save(path, STATE, durable=True)
    assert journal.load(path) == STATE
    assert [item.name for item in tmp_path.iterdir()] == ["j"]


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, "[]", "null", '{"schema": "other/1"}', '{"schema": "comfyops-partial/1"}']
)
def test_a_damaged_journal_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "j").write_text(text)
    assert journal.load(tmp_path / "j") is None and journal.load(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"written": [[-5, 100]]},
        {"written": [[0.0, 1e300]]},
        {"synced": [[0, float("inf")]]},
        {"written": [[0, 1, 2]]},
        {"etag": 5},
        {"size": "1000"},
        {"boot": None},
        {"schema": "comfyops-partial/2"},
        {"more": 1},
    ],
)
def test_a_journal_of_another_kind_is_none(tmp_path: Path, wrong: dict[str, object]) -> None:
    journal.save(tmp_path / "j", STATE)
    (tmp_path / "j").write_text(json.dumps({**json.loads((tmp_path / "j").read_text()), **wrong}))
    assert journal.load(tmp_path / "j") is None


def test_a_journal_that_cannot_be_written_is_said_by_a_word_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "j.new").mkdir()
    assert not journal.save(tmp_path / "j", STATE)


def test_a_partial_file_that_is_a_link_is_made_anew(tmp_path: Path) -> None:
    where, elsewhere = places(tmp_path / "a.bin", SHA), tmp_path / "elsewhere"
    elsewhere.write_bytes(b"somebody's own")
    where.part.symlink_to(elsewhere)
    partial, _ = Partial.open(where, SHA, 1000, "https://a", None)
    partial.write(0, memoryview(b"x" * 50))
    partial.close()
    assert elsewhere.read_bytes() == b"somebody's own" and not where.part.is_symlink()


def test_after_a_restart_of_the_machine_only_what_was_synced_counts() -> None:
    assert STATE.usable("boot-1") == [(0, 500), (600, 700)]
    assert STATE.usable("boot-2") == [(0, 200)]


def test_ranges_beyond_the_file_are_not_believed() -> None:
    assert Journal(SHA, 10, "", None, "b", written=((0, 11),)).usable("b") == []


def test_a_partial_file_is_found_again(tmp_path: Path) -> None:
    where = places(tmp_path / "a.bin", SHA)
    partial, written = Partial.open(where, SHA, 1000, "https://a", '"e"')
    assert written == []
    partial.write(100, memoryview(b"x" * 50))
    partial.save([(100, 150)])
    partial.close()
    assert where.part.name == ".a.bin.abababab.part" and where.journal.name == ".a.bin.abababab.part.json"
    partial, written = Partial.open(where, SHA, 1000, "https://mirror", None)
    partial.close()
    assert written == [(100, 150)]
    assert {path.name for path in leftovers(tmp_path / "a.bin")} == {where.part.name, where.journal.name}
    assert leftovers(tmp_path / "a") == []


@pytest.mark.parametrize(
    ("size", "source", "etag"), [(999, "https://a", '"e"'), (1000, "https://b", '"e"'), (1000, "https://a", '"f"')]
)
def test_without_a_hash_another_size_address_or_etag_starts_anew(
    tmp_path: Path, size: int, source: str, etag: str
) -> None:
    where = places(tmp_path / "a.bin", "url:x")
    partial, _ = Partial.open(where, "url:x", 1000, "https://a", '"e"')
    partial.save([(0, 10)])
    partial.close()
    partial, written = Partial.open(where, "url:x", size, source, etag)
    partial.close()
    assert written == []


def test_a_journal_without_its_partial_file_claims_nothing(tmp_path: Path) -> None:
    where = places(tmp_path / "a.bin", SHA)
    partial, _ = Partial.open(where, SHA, 1000, "https://a", None)
    partial.save([(0, 1000)])
    partial.close()
    where.part.unlink()
    partial, written = Partial.open(where, SHA, 1000, "https://a", None)
    partial.close()
    assert written == []


def test_a_very_long_name_still_has_room_for_its_endings(tmp_path: Path) -> None:
    where = places(tmp_path / ("n" * 240 + ".safetensors"), SHA)
    assert max(len(path.name) for path in (where.part, where.journal, where.lock)) < 200


def test_the_hash_follows_the_frontier(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    with FrontierHash(path) as hashing:
        for limit in (1, 1, 1_000_000, 3_000_000):
            hashing.advance(limit)
            assert hashing.position == limit
        with pytest.raises(EOFError):
            hashing.advance(3_000_001)
        assert hashing.hexdigest() == sha256_of(path)


def test_a_lock_is_held_by_one_and_removed_at_the_end(tmp_path: Path) -> None:
    path, order = tmp_path / ".lock", []

    def other() -> None:
        with locked(path, 10):
            order.append("other")

    thread = threading.Thread(target=other)
    with locked(path, 10):
        thread.start()
        time.sleep(0.15)
        order.append("first")
    thread.join()
    assert order == ["first", "other"] and not path.exists()


def test_a_wait_for_a_lock_ends_by_cancelling_or_by_its_timeout(tmp_path: Path) -> None:
    def cancelled() -> None:
        raise DownloadCancelledError("Enough.")

    with locked(tmp_path / "l", 1):
        with pytest.raises(DownloadCancelledError), locked(tmp_path / "l", 10, cancelled):
            pass
        with pytest.raises(StorageError, match="in use"), locked(tmp_path / "l", 0.1):
            pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from comfyops.support.locks import locked\n"
        "with locked(Path(sys.argv[1]), 5): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "l")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(StorageError), locked(tmp_path / "l", 0.1):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with locked(tmp_path / "l", 2):
        pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), locked(tmp_path / "file" / "l", 1):
        pass
