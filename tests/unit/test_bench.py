"""The benchmarks run: small and quick, as the command that `make bench` calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import graphs
from benchmarks.table import Row, number, save, show
from benchmarks.timing import interleaved

from comfyops.workflows import api_format
from comfyops.workflows.node_types import shipped
from comfyops.workflows.validate import validate

ROOT = Path(__file__).parents[2]


def quick(tmp_path: Path, *subjects: str) -> tuple[str, list[dict[str, object]]]:
    """The table and the rows of a quick run of some subjects."""
    file = tmp_path / "bench.json"
    only = [word for subject in subjects for word in ("--only", subject)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--output", str(file), *only],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a goal was missed, as on a busy machine
    return done.stdout, json.loads(file.read_text())["rows"]


def test_validation_and_client_are_measured_and_both_ways_get_the_same_picture(tmp_path: Path) -> None:
    table, rows = quick(tmp_path, "validation", "client")
    assert all(isinstance(row["measured"], float) and row["measured"] > 0 for row in rows)
    assert {row["what"] for row in rows if row["goal"]} >= {"wide 200", "submit to outputs, times raw calls"}
    assert all(str(row["what"]) in table for row in rows)


def test_the_simulator_is_measured(tmp_path: Path) -> None:
    _, rows = quick(tmp_path, "server")
    assert {row["unit"] for row in rows} == {"1/s", "ms"}


@pytest.mark.timeout(240)
def test_durable_jobs_are_measured(tmp_path: Path) -> None:
    _, rows = quick(tmp_path, "jobs")
    assert {row["unit"] for row in rows} == {"x", "ms", "%", "MiB"}


def test_an_unknown_subject_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nothing"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "nothing" in done.stderr


@pytest.mark.parametrize("make", [graphs.wide, graphs.tree, graphs.chain, graphs.diffusion])
def test_every_graph_is_valid_and_of_the_size_that_was_asked_for(make: object) -> None:
    prompt = make(61) if make is graphs.diffusion else make(60)  # type: ignore[operator]
    assert abs(len(prompt) - 60) <= 1
    assert not [item for item in validate(api_format.parse(prompt), shipped()) if item.severity == "error"]


def test_a_row_over_its_goal_is_marked_and_written(tmp_path: Path) -> None:
    rows = [Row("a", "slow", 3.0, "x", "how", goal=1.3), Row("a", "free", 3.0, "x", "how")]
    assert [row.met for row in rows] == [False, None]
    assert "3 MISSED" in show(rows).splitlines()[2]
    assert "MISSED" not in show(rows).splitlines()[3]
    save(rows, tmp_path / "new" / "bench.json")
    kept = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert [row["met"] for row in kept["rows"]] == [False, None] and kept["schema"] == "bench/1"


def test_numbers_keep_the_digits_that_count() -> None:
    assert [number(value) for value in (0.01234, 3.14159, 99.44, 7200.4)] == ["0.0123", "3.14", "99.4", "7,200"]


def test_work_is_done_in_turn_after_a_warm_up() -> None:
    done: list[str] = []
    taken = interleaved({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, 3)
    assert done == ["a", "b"] * 4
    assert all(seconds >= 0 for seconds in taken.values())
