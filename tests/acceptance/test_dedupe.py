"""`comfyops models dedupe`: the saving shown first, then links."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.processes import comfyops
from tests.unit.models.shelf import weights

DATA = weights(5000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two installations with the same model, one of them twice."""
    for place in ("one/models/loras/a", "one/models/checkpoints/same", "other/models/loras/a"):
        path = tmp_path / f"{place}.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(DATA)
    (tmp_path / "one/main.py").touch()
    return tmp_path


def test_the_saving_is_shown_then_made(folder: Path) -> None:
    command = ("models", "dedupe", "other/models", "--comfyui-path", "one")
    shown = comfyops(*command, "--json", folder=folder)
    assert shown.data["saving_bytes"] == 2 * len(DATA) and shown.data["done"] is None
    files = sorted(folder.rglob("*.safetensors"))
    assert len({path.stat().st_ino for path in files}) == 3
    done = comfyops(*command, "--apply", folder=folder)
    assert done.code == 0 and "2 files became links" in done.err
    assert len({path.stat().st_ino for path in files}) == 1 and files[0].read_bytes() == DATA
    again = comfyops(*command, folder=folder)
    assert again.code == 0 and "0 files could become links" in again.err and again.out == ""


def test_a_store_is_shared_by_installations(folder: Path) -> None:
    command = ("models", "dedupe", "other/models", "--models-dir", "one/models", "--store", "store", "--symbolic")
    assert comfyops(*command, "--apply", folder=folder).code == 0
    (kept,) = (path for path in (folder / "store").rglob("*") if path.is_file())
    assert all(path.is_symlink() and path.samefile(kept) for path in folder.rglob("*.safetensors"))


def test_what_is_no_folder_is_refused(folder: Path) -> None:
    comfyops("models", "dedupe", "--models-dir", "gone", folder=folder).failed_with("file_missing", "gone is no folder")
    comfyops("models", "dedupe", "gone", "--comfyui-path", "one", folder=folder).failed_with("file_missing", "gone")
    comfyops("models", "dedupe", "--comfyui-path", "other", folder=folder).failed_with("file_missing", "no ComfyUI")
