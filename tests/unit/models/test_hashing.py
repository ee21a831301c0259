"""Many files hashed at once: the right hashes, told how far, and stoppable without losing what is done."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from comfyops.models import stamps
from comfyops.models.hashing import HashProgress, hash_file, hash_files


def files(folder: Path, *sizes: int) -> dict[Path, str]:
    """Files of these sizes, with their hashes."""
    made = {}
    for number, size in enumerate(sizes):
        path, data = folder / f"{number}.bin", random.Random(number).randbytes(size)
        path.write_bytes(data)
        made[path] = hashlib.sha256(data).hexdigest()
    return made


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_every_file_gets_its_hash_which_is_remembered(tmp_path: Path, threads: int) -> None:
    made = files(tmp_path, 0, 1, 3_000_000, 1 << 20, 70_000)
    memory = stamps.load(tmp_path / "stamps.json")
    absent = tmp_path / "none"
    assert hash_files([*made, absent, *made], memory, threads) == {**made, absent: None}
    assert {path: memory.hash_of(path, path.stat()) for path in made} == made
    assert hash_file(next(iter(made)))[0] == hashlib.sha256().hexdigest()


def test_progress_ends_with_everything(tmp_path: Path) -> None:
    made = files(tmp_path, 5_000_000, 3_000_000)
    told: list[HashProgress] = []
    hash_files(made, stamps.load(tmp_path / "s"), on_progress=told.append)
    assert told[-1] == HashProgress(2, 2, 8_000_000, 8_000_000)
    assert [item.read_bytes for item in told] == sorted(item.read_bytes for item in told)


def test_it_can_be_stopped_and_keeps_what_is_done(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as out:
        out.truncate(1 << 40)  # a terabyte of nothing: reading it all would take many minutes
    made = files(tmp_path, 1000, 2000)
    memory = stamps.load(tmp_path / "s")

    def stop(told: HashProgress) -> None:
        if told.files == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_files([large, *made], memory, 2, stop)
    assert set(memory.new) == {str(path) for path in made}
