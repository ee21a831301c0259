from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfyops.errors import InputError, MissingFileError, StorageError
from comfyops.support import backups
from comfyops.support.backups import FOLDER, backup, replace, restore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "flow.json"
    path.parent.mkdir()
    path.write_text("one")
    return path


def test_a_copy_lies_beside_the_file_named_by_its_content(file: Path) -> None:
    made = backup(file)
    assert made.path.parent == file.parent / FOLDER / "flow.json" and made.path.suffix == ".json"
    assert made.read() == b"one" and made.sha256 in made.path.name and made.size == 3
    assert backups.backups(file) == (made,)


def test_the_same_content_is_copied_once_in_a_row(file: Path) -> None:
    first = backup(file)
    assert backup(file) == first
    file.write_text("two")
    second = backup(file)
    file.write_text("one")
    third = backup(file)
    assert [item.id for item in backups.backups(file)] == [third.id, second.id, first.id]


def test_a_file_is_replaced_only_after_it_was_copied(file: Path) -> None:
    kept = replace(file, b"two")
    assert file.read_text() == "two" and kept.read() == b"one"


def test_restoring_takes_the_newest_other_version_and_keeps_the_present_one(file: Path) -> None:
    replace(file, b"two")
    done = restore(file)
    assert file.read_text() == "one" and done.kept is not None and done.kept.read() == b"two"
    restore(file)
    assert file.read_text() == "two"


def test_a_version_is_named_by_the_beginning_of_its_id_or_hash(file: Path) -> None:
    first = backup(file)
    second = replace(file, b"two")
    assert second == first
    replace(file, b"three")
    assert restore(file, first.sha256[:10]).backup.id == first.id and file.read_text() == "one"
    assert restore(file, first.id).backup.id == first.id
    with pytest.raises(InputError, match="begin with"):
        restore(file, "2")
    for wanted in ("zzz", ""):
        with pytest.raises(MissingFileError):
            restore(file, wanted)
    assert file.read_text() == "one"


def test_a_deleted_file_comes_back(file: Path) -> None:
    backup(file)
    file.unlink()
    assert restore(file).kept is None and file.read_text() == "one"


def test_a_damaged_copy_is_refused_and_the_file_stays(file: Path) -> None:
    made = backup(file)
    made.path.write_text("changed")
    file.write_text("two")
    with pytest.raises(StorageError, match="damaged"):
        restore(file)
    assert file.read_text() == "two"
    file.write_text("one")
    assert backup(file).path != made.path  # a sound copy is made anew


def test_what_has_no_copies_and_what_is_not_there_is_said(file: Path) -> None:
    with pytest.raises(MissingFileError, match="no backup"):
        restore(file)
    with pytest.raises(MissingFileError, match="does not exist"):
        backup(file.with_name("none.json"))
    with pytest.raises(MissingFileError):
        replace(file.with_name("none.json"), b"x")
    assert not file.with_name("none.json").exists()


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    replace(link, b"two")
    assert link.is_symlink() and file.read_text() == "two"
    assert restore(link).kept is not None and file.read_text() == "one"


def test_where_nothing_can_be_written_beside_the_file_copies_go_home(file: Path, tmp_path: Path) -> None:
    (file.parent / FOLDER).write_text("in the way")
    with pytest.raises(StorageError):
        backup(file)
    made = backup(file, tmp_path / "home")
    assert made.path.is_relative_to(tmp_path / "home") and made.read() == b"one"
    file.write_text("two")
    restore(file, home=tmp_path / "home")
    assert file.read_text() == "one"


def test_foreign_files_among_the_copies_do_not_count(file: Path) -> None:
    made = backup(file)
    (made.path.parent / "notes.txt").write_text("x")
    (made.path.parent / f"99999999T999999999999Z-{'0' * 64}.json").write_text("x")
    assert backups.backups(file) == (made,)


_REPLACE = """
import os, sys
from pathlib import Path
from comfyops.support import backups, files
calls = 0
def stop(event, args):
    global calls
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.chmod", "tempfile.mkstemp"):
        calls += 1
        if calls == int(sys.argv[2]):
            os._exit(9)
file = Path(sys.argv[1])
sys.addaudithook(stop)
backups.replace(file, b"new")
os._exit(0)
"""


def test_a_process_that_dies_at_any_step_leaves_the_old_file_or_the_new_one(file: Path) -> None:
    for step in range(1, 60):
        file.write_text("old")
        done = subprocess.run([sys.executable, "-c", _REPLACE, str(file), str(step)], env=dict(os.environ))
        content = file.read_text()
        assert content in ("old", "new")
        copies = [item.read() for item in backups.backups(file)]
        assert content == "old" or b"old" in copies
        if done.returncode == 0:
            break
    assert done.returncode == 0 and content == "new" and step > 5
