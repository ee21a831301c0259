"""Killed at any line, a write leaves the old file or the new one, a rotation something that `apply` completes.

Each case is a process that forks a child for every line, which ends there without any clean-up.
"""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from comfyops.auth.secrets import changing, model, private_files
from comfyops.auth.secrets.model import Target
from comfyops.auth.secrets.store import Store
from comfyops.errors import SecretsError, StorageError
from tests.unit.auth.secrets.values import NOW, TOKEN, document

KILLED = """
import os, sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from comfyops.auth.secrets import changing, private_files, model, plan
from comfyops.auth.secrets.store import Store

def killed_at(line, work):
    left = [line]
    def trace(frame, event, argument):
        if "comfyops" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
        return trace
    child = os.fork()
    if child == 0:
        sys.settrace(trace)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0
"""

WRITE = (
    KILLED
    + """
target, line = Path(sys.argv[1]), 0
while True:
    line += 1
    target.write_bytes(b"old")
    target.chmod(0o600)
    alive = not killed_at(line, lambda: private_files.write(target, b"new" * 1000, 0o640))
    data, mode = target.read_bytes(), target.stat().st_mode & 0o777
    assert (data, mode) in ((b"old", 0o600), (b"new" * 1000, 0o640)), (line, mode)
    for other in target.parent.iterdir():
        assert other == target or other.stat().st_mode & 0o077 in (0, 0o040), line
    if alive:
        break
assert data != b"old"
print(line)
"""
)

ROTATE = (
    KILLED
    + """
root, line, step = Path(sys.argv[1]), 1, int(sys.argv[2])
store, now = Store(root / ".secrets" / "comfyops.yaml"), datetime.now(UTC)
quiet = lambda action, facts: None
def told(action, facts):
    (root / "record").write_text(facts["after"])
def rotate():
    changing.rotate(store, "worker", now, told, overlap=timedelta(0))
def held():
    document = store.load()
    return document.secrets["worker"].fields["value"]
while True:
    before = held()
    env = (root / ".env").read_bytes()
    alive = not killed_at(line, rotate)
    now_held, token = held(), (root / "token").read_text()
    mark = plan.fingerprint(now_held, store.load().fingerprint_key)
    assert now_held == before or (root / "record").read_text() == mark, line
    assert token in (before, now_held), line
    assert (root / ".env").read_bytes() in (env, env.replace(before.encode(), now_held.encode())), line
    changing.apply(store, now, quiet)
    assert (root / "token").read_text() == now_held and not store.plan(store.load(), now).drift
    assert not [*root.rglob(".*.part")], line
    if alive:
        break
    line += step
assert now_held != before
print(line)
"""
)


class Told:
    """A record that keeps what it is told."""

    def __init__(self) -> None:
        self.actions: list[str] = []

    def __call__(self, action: str, facts: Mapping[str, str]) -> None:
        self.actions.append(action)


def run(code: str, *arguments: str) -> int:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_write_killed_at_any_line_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    assert run(WRITE, str(tmp_path / "file")) > 10


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_rotation_killed_anywhere_is_completed_by_apply(tmp_path: Path) -> None:
    targets = (Target(".env", "env", {"A": "worker.value"}), Target("token", "token", {"token": "worker.value"}))
    folder = tmp_path / ".secrets"
    folder.mkdir(mode=0o700)
    private_files.write(folder / "comfyops.yaml", model.dumps(document(*targets)))
    (tmp_path / ".env").write_text(f"# top\nA={TOKEN}\n")
    (tmp_path / "token").write_text(TOKEN)
    assert run(ROTATE, str(tmp_path), "17") > 300


def test_a_write_keeps_links_and_gives_the_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "deep" / "real", tmp_path / "link"
    link.symlink_to(real)
    private_files.write(link, b"x", 0o640)
    assert link.is_symlink() and real.read_bytes() == b"x" and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert stat.S_IMODE(real.parent.stat().st_mode) == 0o700
    assert private_files.look(link).mode == 0o640


def test_what_cannot_be_written_or_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        private_files.write(tmp_path / "file" / "below", b"x")
    with pytest.raises(StorageError, match="no file"):
        private_files.look(tmp_path)
    second = private_files.locked(tmp_path, timeout=0.1)
    with private_files.locked(tmp_path), pytest.raises(StorageError, match="Another command"), second:
        pass


@pytest.mark.parametrize("name", ["/srv/site/.env", "/srv/my site/.env", "/srv/a\\b/.env", "/srv/\u00e9/.env"])
def test_a_file_that_is_mounted_alone_is_known_before_anything_changes(name: str) -> None:
    written = name.replace("\\", "\\134").replace(" ", "\\040")
    table = f"29 1 8:1 / / rw - ext4 /dev/sda rw\n36 29 8:1 /x {written} rw,relatime - ext4 /dev/sda rw\n".encode()
    assert private_files.is_mount_point(Path(name), table)
    assert not private_files.is_mount_point(Path("/srv"), table) and not private_files.is_mount_point(Path(name), b"")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder that nobody can write")
def test_nothing_changes_where_one_target_cannot_be_written(tmp_path: Path) -> None:
    """The document, the targets before that one and the record of what was done stay as they are."""
    good, bad = (Target(path, "token", {"token": "worker.value"}) for path in ("good", "/proc/none/token"))
    store = Store(tmp_path / ".secrets" / "comfyops.yaml")
    store.save(document(good))
    changing.apply(store, NOW, told := Told())
    store.save(document(good, bad))
    before, done = store.file.read_bytes(), list(told.actions)
    with pytest.raises(StorageError):
        changing.rotate(store, "worker", NOW, told, overlap=timedelta(0))
    assert store.file.read_bytes() == before and (tmp_path / "good").read_text() == TOKEN
    assert told.actions == done and {path.name for path in tmp_path.iterdir()} == {".secrets", "good"}


def test_one_target_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    store = Store(tmp_path / ".secrets" / "comfyops.yaml")
    made = store.plan(document(*(Target(path, "token", {"token": "worker.value"}) for path in ("folder", "b"))), NOW)
    assert "no file" in str(made.targets[0].problem) and made.targets[1].changes and made.drift
    with pytest.raises(SecretsError, match="unknown here"):
        store.path("~nobody-of-this-name/x")


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path / ".secrets" / "comfyops.yaml")
    store.save(document(Target("good", "token", {"token": "worker.value"})))
    before = store.file.read_bytes()

    def refused(action: str, facts: Mapping[str, str]) -> None:
        raise StorageError("The record cannot be written.")

    with pytest.raises(StorageError, match="record"):
        changing.rotate(store, "worker", NOW, refused, overlap=timedelta(0))
    assert store.file.read_bytes() == before and not (tmp_path / "good").exists()


def test_a_folder_that_is_not_ours_keeps_its_permissions(tmp_path: Path) -> None:
    """A document in a shared folder must not lock others out of it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    store = Store(shared / "site.yaml")
    made = changing.create(store, document().secrets["worker"], lambda action, facts: None)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755 and store.load() == made and not store.too_open()
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    with pytest.raises(SecretsError, match="no document"):
        changing.apply(Store(tmp_path / "none" / "comfyops.yaml"), NOW, lambda action, facts: None)
    assert not (tmp_path / "none").exists()


def test_two_targets_or_the_document_cannot_be_one_file(tmp_path: Path) -> None:
    store = Store(tmp_path / ".secrets" / "comfyops.yaml")
    keys = {"token": "worker.value"}
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for paths in (("file", "./file"), ("file", "link"), (".secrets/comfyops.yaml",)):
        with pytest.raises(SecretsError, match="same file"):
            store.plan(document(*(Target(path, "token", keys) for path in paths)), NOW)


def test_a_target_that_changes_after_the_plan_is_not_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path / ".secrets" / "comfyops.yaml")
    made = store.plan(document(Target("t", "token", {"token": "worker.value"})), NOW)
    (tmp_path / "t").write_bytes(b"mine")
    with pytest.raises(SecretsError, match="changed meanwhile"), store.staged(made):
        pass
    assert (tmp_path / "t").read_bytes() == b"mine"
