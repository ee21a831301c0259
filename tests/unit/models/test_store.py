"""Equal model files become links to one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from comfyops.errors import StorageError
from comfyops.models import stamps, store
from comfyops.models.store import DedupePlan, Way, store_path


def put(path: Path, text: str, size: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((text * size).encode()[:size])
    return path


def planned(root: Path, way: Way = Way.HARD, place: Path | None = None) -> DedupePlan:
    return store.plan(store.files_of([root]), stamps.load(root / "stamps.json"), way, place)


def applied(root: Path, plan: DedupePlan) -> store.Deduped:
    return store.apply(plan, stamps.load(root / "stamps.json"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three equal files, one of the same size, one of another size."""
    root = tmp_path / "models"
    put(root / "clip/a.safetensors", "a")
    put(root / "text_encoders/a.safetensors", "a")
    put(root / "text_encoders/sub/renamed.safetensors", "a")
    put(root / "vae/other.safetensors", "b")
    put(root / "vae/longer.safetensors", "a", 2000)
    put(root / "vae/notes.txt", "a")
    return root


def test_the_saving_is_shown_and_nothing_is_changed(models: Path) -> None:
    plan = planned(models)
    assert plan.saving == 2000 and [link.copy.path.name for link in plan.links] == [
        "a.safetensors",
        "renamed.safetensors",
    ]
    assert {link.target for link in plan.links} == {models / "clip/a.safetensors"}
    assert all(path.stat().st_nlink == 1 for path in models.rglob("*.safetensors"))


@pytest.mark.parametrize("way", Way)
def test_equal_files_become_one_and_a_second_time_there_is_nothing_to_do(models: Path, way: Way) -> None:
    done = applied(models, planned(models, way))
    assert (done.freed, len(done.linked), done.failed) == (2000, 2, ())
    names = [models / "clip/a.safetensors", *done.linked]
    assert len({path.stat().st_ino for path in names}) == 1
    assert [path.is_symlink() for path in done.linked] == [way is Way.SYMBOLIC] * 2
    assert all(path.read_bytes() == b"a" * 1000 for path in names)
    assert planned(models, way).links == ()
    assert not list(models.rglob(".comfyops-link*"))


def test_names_of_one_file_free_its_bytes_once(models: Path) -> None:
    os.link(models / "text_encoders/a.safetensors", models / "text_encoders/again.safetensors")
    plan = planned(models)
    assert len(plan.links) == 3 and plan.saving == 2000
    assert applied(models, plan).freed == 2000


@pytest.mark.parametrize("way", Way)
def test_a_store_keeps_every_content_once(models: Path, tmp_path: Path, way: Way) -> None:
    place = tmp_path / "store"
    done = applied(models, planned(models, way, place))
    assert done.failed == () and done.freed == 2000
    for path in models.rglob("*.safetensors"):
        kept = store_path(place, sha256(path.read_bytes()).hexdigest())
        assert kept.samefile(path)
    assert len([path for path in place.rglob("*") if path.is_file()]) == 3
    assert planned(models, way, place).saving == 0 and planned(models, way, place).stored == ()


def test_what_has_changed_since_is_left_as_it_is(models: Path) -> None:
    plan = planned(models)
    put(models / "text_encoders/a.safetensors", "c")
    done = applied(models, plan)
    assert [path.name for path in done.linked] == ["renamed.safetensors"] and done.freed == 1000
    assert [(path.name, why) for path, why in done.failed] == [("a.safetensors", "it has changed meanwhile")]
    assert (models / "text_encoders/a.safetensors").read_bytes() == b"c" * 1000


def test_a_file_whose_other_half_is_gone_stays(models: Path) -> None:
    plan = planned(models)
    (models / "clip/a.safetensors").unlink()
    done = applied(models, plan)
    assert len(done.failed) == 2 and (models / "text_encoders/a.safetensors").read_bytes() == b"a" * 1000


def test_empty_files_are_not_equal(tmp_path: Path) -> None:
    put(tmp_path / "vae/a.safetensors", "", 0)
    put(tmp_path / "vae/b.safetensors", "", 0)
    assert planned(tmp_path).links == ()


def test_a_store_on_another_disk_gets_copies_and_symbolic_links(models: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == models.stat().st_dev:
        pytest.skip("needs two disks")
    with TemporaryDirectory(dir=shared) as folder:
        with pytest.raises(StorageError, match="lies on another disk") as caught:
            planned(models, Way.HARD, Path(folder))
        assert "--symbolic" in caught.value.hint
        done = applied(models, planned(models, Way.SYMBOLIC, Path(folder)))
        names = sorted(models.rglob("*.safetensors"))
        assert done.failed == () and all(path.is_symlink() and path.exists() for path in names)
        assert sorted(sha256(path.read_bytes()).hexdigest() for path in names) == sorted(
            path.resolve().name for path in names
        )
        assert planned(models, Way.SYMBOLIC, Path(folder)).links == ()


def test_where_hard_links_are_not_permitted_it_is_said_and_nothing_is_changed(models: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_LINKS, str(models), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    failed, stored, copied = done.stdout.splitlines()
    assert failed == "hard links are not permitted there; --symbolic makes links that may be", done
    assert stored.startswith("StorageError") and "cannot have a second name" in stored
    assert copied == "5 ()" and all(path.is_symlink() for path in models.rglob("*.safetensors"))


WITHOUT_LINKS = """
import errno, os, sys
from pathlib import Path
from comfyops.models import stamps, store
from comfyops.models.store import Way

def forbidden(event, _):
    if event == "os.link":
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

root, place = Path(sys.argv[1]), Path(sys.argv[2])
memory = stamps.load(root / "stamps.json")
sys.addaudithook(forbidden)
done = store.apply(store.plan(store.files_of([root]), memory), memory)
print(done.failed[0][1])
try:
    store.apply(store.plan(store.files_of([root]), memory, Way.HARD, place), memory)
except Exception as error:
    print(type(error).__name__, error)
done = store.apply(store.plan(store.files_of([root]), memory, Way.SYMBOLIC, place), memory)
print(len(done.linked), done.failed)
"""


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.safetensors").write_bytes(b"x")
    unreadable: list[str] = []
    assert len(store.files_of([tmp_path / "a", tmp_path / "none", tmp_path / "none"], unreadable)) == 1
    assert unreadable == [str(tmp_path / "none")]
