"""Kept files under kill -9, and on a disk that is full."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from comfyops.errors import DiskFullError, MissingFileError
from comfyops.jobs.files import Files
from comfyops.support.files import writing
from tests.chaos.plans import WHOLE
from tests.chaos.test_disk_full import disk, fill

__all__ = ["disk"]
MIB = 1024 * 1024


def objects(folder: Path) -> list[Path]:
    return [path for path in (folder / "objects").rglob("*") if path.is_file()]


async def keep(files: Files, data: bytes) -> str:
    path = files.incoming()
    with writing(path) as file:
        file.write(data)
    return (await files.keep(path)).hash


@pytest.mark.parametrize("seed", range(6 if WHOLE else 2))
def test_a_killed_writer_leaves_only_whole_files(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.chaos.keeping_process", str(tmp_path), str(seed)]
    said: set[str] = set()
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert process.stdout is not None
        said.add(process.stdout.readline().strip())
        time.sleep(random.Random(seed).random() * 0.3)
        process.kill()
        said.update(line for line in process.stdout.read().split() if len(line) == 64)
        process.stdout.close()
        process.wait()
    found = {path.name: blake3(path.read_bytes()).hexdigest() for path in objects(tmp_path)}
    assert said <= found.keys()
    assert all(name == digest for name, digest in found.items())


async def test_what_killed_writers_left_behind_is_swept_when_it_is_old(tmp_path: Path) -> None:
    files = Files(tmp_path)
    await keep(files, b"whole")
    old, fresh = files.incoming(), files.incoming()
    for path in (old, fresh):
        path.write_bytes(b"part")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    files.sweep()
    assert (old.exists(), fresh.exists()) == (False, True)
    assert len(objects(tmp_path)) == 1


async def test_equal_files_are_kept_once_by_many_writers(tmp_path: Path) -> None:
    files = Files(tmp_path)
    hashes = await asyncio.gather(*(keep(files, bytes([number % 3]) * MIB) for number in range(24)))
    assert len(set(hashes)) == len(objects(tmp_path)) == 3
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_both_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    files, data = Files(tmp_path), random.Random(1).randbytes(3 * MIB)
    path = files.incoming()
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    kept = await files.keep(path)
    assert (kept.hash, kept.sha256) == (blake3(data).hexdigest(), hashlib.sha256(data).hexdigest())
    assert (kept.size, files.path(kept.hash).read_bytes()) == (len(data), data)


@pytest.mark.parametrize("digest", ["", "../../../etc/passwd", "0" * 63, "G" * 64, "0" * 64])
def test_what_is_no_kept_file_is_not_found(tmp_path: Path, digest: str) -> None:
    with pytest.raises(MissingFileError):
        Files(tmp_path).path(digest)


async def test_a_full_disk_is_said_and_nothing_half_is_kept(disk: Path) -> None:
    files = Files(disk)
    whole = await keep(files, b"before")
    filler = fill(disk, 4 * MIB)
    with pytest.raises(DiskFullError):
        await keep(files, b"y" * 8 * MIB)
    assert [path.name for path in objects(disk)] == [whole]
    assert list((disk / "incoming").iterdir()) == []
    filler.unlink()
    again = await keep(files, b"y" * 8 * MIB)
    assert files.path(again).stat().st_size == 8 * MIB
