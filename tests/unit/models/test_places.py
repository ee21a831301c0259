"""Finding ComfyUI, and finding out whether models can be written there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from comfyops.errors import DiskFullError, InputError, MissingFileError, NotWritableError, StorageError
from comfyops.models import places
from comfyops.models.paths import Machine, System

UBUNTU = Machine(System.WSL, "Ubuntu", "/nowhere/")


def comfyui(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def test_the_documented_places_are_looked_into_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "project" / "here"
    here.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    with pytest.raises(MissingFileError, match=r"comfyui_portable/ComfyUI, .*~/ComfyUI"):
        places.find()
    for folder in (home / "comfy/ComfyUI", home / "ComfyUI", here.parent / "comfyui_portable/ComfyUI"):
        comfyui(folder)
        assert places.find().root.resolve() == folder
    comfyui(here / "comfyui_portable/ComfyUI")
    assert places.find() == places.Place(here / "comfyui_portable/ComfyUI", "./comfyui_portable/ComfyUI")


@pytest.mark.parametrize("below", ["", "ComfyUI", "comfyui_portable/ComfyUI", "ComfyUI_windows_portable/ComfyUI"])
def test_a_folder_that_holds_comfyui_will_do(tmp_path: Path, below: str) -> None:
    root = comfyui(tmp_path / "x" / below)
    assert places.find(tmp_path / "x").root == root


def test_a_main_py_alone_is_no_comfyui(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    with pytest.raises(MissingFileError, match="no ComfyUI in"):
        places.find(tmp_path)
    with pytest.raises(MissingFileError, match="no folder"):
        places.find(tmp_path / "gone")
    (tmp_path / "folder_paths.py").touch()
    assert places.find(str(tmp_path)).root == tmp_path


def test_a_path_of_windows_is_found_from_wsl(tmp_path: Path) -> None:
    root = comfyui(tmp_path / "ComfyUI")
    given = "\\\\wsl.localhost\\Ubuntu" + str(root).replace("/", "\\")
    assert places.find(given, machine=UBUNTU) == places.Place(root, given)
    assert places.local_path("D:\\AI", UBUNTU) == Path("/nowhere/d/AI")
    with pytest.raises(InputError, match="Debian"):
        places.find("\\\\wsl$\\Debian\\home", machine=UBUNTU)


def test_the_folders_of_a_place_are_those_of_its_extra_paths_too(tmp_path: Path) -> None:
    root = comfyui(tmp_path)
    (root / "extra_model_paths.yaml").write_text("mine:\n  base_path: /data\n  loras: loras\n")
    assert Path("/data/loras") in places.find(root).folders().paths["loras"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[automount]\nroot = /\n", "/"),
        ("[automount]\nenabled=true\nroot=/drives/\n", "/drives/"),
        ("[boot]\nsystemd=true\n", "/mnt/"),
        ("no settings", "/mnt/"),
        ("[automount]\nroot\n", "/mnt/"),
    ],
)
def test_wsl_may_show_drives_elsewhere(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "wsl.conf").write_text(text)
    assert places.drives_root(tmp_path / "wsl.conf") == expected
    assert places.drives_root(tmp_path / "none") == "/mnt/"


def test_a_folder_that_takes_files_passes_and_keeps_nothing(tmp_path: Path) -> None:
    places.check_writable(tmp_path)
    places.check_writable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(StorageError, match="is a file"):
        places.check_writable(tmp_path / "models")
    with pytest.raises(StorageError):
        places.check_writable(tmp_path / "models" / "vae")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder of Linux that takes no files, even of root")
def test_a_folder_that_takes_no_files_is_found_out_by_writing() -> None:
    assert os.access("/proc", os.W_OK) or os.getuid() != 0
    with pytest.raises(NotWritableError) as caught:
        places.check_writable(Path("/proc/self"), r"\\wsl.localhost\Ubuntu\proc\self")
    assert caught.value.message == r"UNC Path Access Denied: Cannot write to \\wsl.localhost\Ubuntu\proc\self."
    assert "administrator" in caught.value.hint and "manual mode" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EACCES, "permission is denied"), (errno.EROFS, "read-only"), (errno.EIO, "input/output error")],
)
def test_the_reason_is_said_in_words(code: int, words: str) -> None:
    error = places.refused("/srv/models", OSError(code, os.strerror(code)))
    assert isinstance(error, NotWritableError)
    assert (
        error.message == f"Cannot write to /srv/models: {error.message.rpartition(': ')[2]}" and words in error.message
    )


def test_a_full_disk_is_said_in_the_documented_words() -> None:
    error = places.refused("/srv/models", OSError(errno.ENOSPC, "x"))
    assert isinstance(error, DiskFullError) and error.message.startswith("No space left on device")
