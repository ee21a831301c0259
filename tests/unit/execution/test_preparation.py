"""What stands between a workflow and its run: room on the disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.errors import DiskFullError
from comfyops.execution.preparation import DiskFit, check_disks, disk_fits
from comfyops.models.check import State
from comfyops.models.entry import ModelEntry
from comfyops.models.plan import Item, Plan

PIECE = 1_000_000


def planned(target: Path, size: int | None) -> Plan:
    return Plan((Item(ModelEntry("loras", target.name, size=size), str(target), State.MISSING),))


def test_what_a_partial_file_holds_is_not_counted_twice(tmp_path: Path) -> None:
    target = tmp_path / "not there yet" / "a.safetensors"
    (before,) = disk_fits(planned(target, 3 * PIECE))
    assert before.needed == 3 * PIECE and before.path == str(tmp_path)
    target.parent.mkdir()
    target.with_name(".a.safetensors.0123abcd.part").write_bytes(bytes(range(250)) * (PIECE // 250))
    (after,) = disk_fits(planned(target, 3 * PIECE))
    assert 0 < after.needed <= 2 * PIECE


def test_a_disk_without_room_is_told_with_both_figures() -> None:
    fits = DiskFit("/models", 5_000_000_000, 6_000_000_000)
    full = DiskFit("/more", 5_000_000_000, 5_010_000_000)
    assert fits.is_enough and not full.is_enough
    check_disks([fits])
    with pytest.raises(DiskFullError, match=r"5\.00 GB are needed in /more, 5\.01 GB are free there"):
        check_disks([fits, full])
