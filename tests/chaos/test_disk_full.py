"""A disk that is too small, on a real file system of 40 MB."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.models.check import State
from comfyops.models.downloads import Downloads
from comfyops.models.entry import ModelEntry
from comfyops.models.plan import Item
from comfyops.models.transfer import FileRequest, Transfers
from comfyops.models.transfer.request import MIB
from comfyops.testing.model_hub import Faults, ModelHub
from tests.chaos.plans import content
from tests.unit.models.shelf import HF, provision

NAME = "org/repo/model.safetensors"
DATA = content(24 * MIB)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or shutil.which("mount") is None:
        pytest.skip("no mount here")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Use up the disk but for so many bytes."""
    filler = disk / "filler"
    try:
        filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - leave))
    except OSError as error:
        if leave or error.errno != errno.ENOSPC:  # else somebody took the last of it meanwhile, and all is full
            raise
    return filler


def test_a_plan_that_does_not_fit_is_refused_before_its_first_byte(disk: Path) -> None:
    with ModelHub({NAME: DATA, f"{NAME}2": DATA}) as hub:
        requests = [
            FileRequest(str(number), disk / f"{number}.safetensors", (hub.url(name),), len(DATA), SHA)
            for number, name in enumerate((NAME, f"{NAME}2"))
        ]
        results = Transfers().run(requests)
        assert [result.error and result.error.code for result in results] == ["disk_full"] * 2
        assert "need 50.3 MB in" in str(results[0].error) and "0.5 MB to spare, but only 41.9 MB" in str(
            results[0].error
        )
        assert hub.requests == [] and list(disk.iterdir()) == []


def test_a_file_of_unknown_size_that_does_not_fit_leaves_the_disk_as_it_was(disk: Path) -> None:
    fill(disk, 10 * MIB)
    with ModelHub({NAME: DATA}) as hub:
        (result,) = Transfers().run([FileRequest("a", disk / "a.safetensors", (hub.url(NAME),))])
        assert result.error is not None and result.error.code == "disk_full"
        assert hub.asked("store") == [] and [path.name for path in disk.iterdir()] == ["filler"]


def test_space_is_reserved_so_that_others_cannot_take_it(disk: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(throttle=2e6)) as hub:
        filled: list[Path] = []

        def fill_once(progress: object) -> None:
            if not filled and hub.asked("hub"):
                filled.append(fill(disk, 0))

        (result,) = Transfers().run([FileRequest("a", disk / "a.safetensors", (hub.url(NAME),), sha256=SHA)], fill_once)
        assert filled and result.error is None and (disk / "a.safetensors").read_bytes() == DATA


def test_after_making_room_the_same_request_goes_on(disk: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(throttle=2e6)) as hub:
        request = FileRequest("a", disk / "a.safetensors", (hub.url(NAME),), len(DATA), SHA)
        transfers = Transfers()
        transfers.run([request], lambda progress: transfers.cancel() if progress.downloaded_bytes > 4 * MIB else None)
        filler = fill(disk, 0)
        hub.faults = Faults()
        (result,) = Transfers().run([request])  # its own space is reserved already
        assert result.ok and result.reused_bytes > 0
        filler.unlink()
        (again,) = Transfers().run([request])
        assert again.ok and again.downloaded_bytes == 0 and again.reused_bytes == len(DATA)


def test_a_file_that_finds_the_disk_full_pauses_and_goes_on_when_there_is_room(disk: Path) -> None:
    filler = fill(disk, 10 * MIB)
    model = ModelEntry("loras", "a.bin", (f"{HF}/{NAME.replace('model', 'resolve/main/model')}",), None, SHA)
    with ModelHub({NAME: DATA}) as hub:
        made = provision(disk / "models", hub, allow_pickle=True)
        downloads = Downloads(made)
        downloads.start([Item(model, str(disk / "models/loras/a.bin"), State.MISSING)])
        assert downloads.wait(30)
        (paused,) = downloads.snapshot()
        assert (paused.progress.status, paused.progress.error_code) == ("paused", "disk_full")
        filler.unlink()
        with downloads.subscribe() as events:
            until = time.monotonic() + 30
            while downloads.snapshot()[0].progress.status != "completed":
                events.next(0.5)
                assert time.monotonic() < until
        downloads.close()
    assert (disk / "models/loras/a.bin").read_bytes() == DATA
