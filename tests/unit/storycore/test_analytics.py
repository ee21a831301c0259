from __future__ import annotations

import json

import pytest

from comfyops.errors import StorageError
from comfyops.storycore.analytics import KEPT, Analytics, Execution, percentile

DOCUMENTED = {
    "total_executions",
    "success_rate",
    "average_execution_time",
    "average_memory_usage",
    "workflow_performance",
    "recent_performance",
}


def run(number: int = 1, *, success: bool = True, cancelled: bool = False, name: str = "video/a", **more) -> Execution:
    return Execution(f"id-{number}", name, float(number), success, 1.0, 1000.0 + number, cancelled=cancelled, **more)


def test_every_key_is_there_before_the_first_run():
    report = Analytics().report()
    assert set(report) >= DOCUMENTED | {"p50_execution_time", "p95_execution_time", "failed_executions"}
    assert f"{report['success_rate']:.2%} {report['average_execution_time']:.2f}s" == "0.00% 0.00s"
    assert set(report) == set(_with([run()]).report())


def _with(runs, path=None) -> Analytics:
    analytics = Analytics(path)
    for item in runs:
        analytics.add(item)
    return analytics


def test_failures_are_counted_and_are_in_no_time():
    report = _with([run(2), run(4), run(1000, success=False)]).report()
    assert (report["total_executions"], report["failed_executions"]) == (3, 1)
    assert report["success_rate"] == pytest.approx(2 / 3)
    assert report["average_execution_time"] == 3.0
    assert report["workflow_performance"]["video/a"]["failures"] == 1


def test_cancelled_runs_are_counted_on_their_own():
    report = _with([run(2), run(9, success=False, cancelled=True)]).report()
    assert (report["total_executions"], report["success_rate"], report["cancelled_executions"]) == (1, 1.0, 1)


def test_percentiles():
    report = _with([run(number) for number in range(1, 101)]).report()
    assert (report["p50_execution_time"], report["p95_execution_time"]) == (50.0, 95.0)
    assert percentile([], 0.5) == 0.0 and percentile([7.0], 0.95) == 7.0


def test_the_last_ten_runs_are_shown():
    recent = _with([run(number) for number in range(20)]).report()["recent_performance"]
    assert [item["execution_id"] for item in recent] == [f"id-{number}" for number in range(10, 20)]
    assert set(recent[0]) == {
        "execution_id",
        "workflow_name",
        "execution_time",
        "success",
        "memory_used",
        "timestamp",
    }


def test_runs_outlive_the_process(tmp_path):
    path = tmp_path / "deep" / "runs.jsonl"
    _with([run(1), run(2, success=False)], path)
    again = Analytics(path).report()
    assert (again["total_executions"], again["failed_executions"]) == (2, 1)


def test_damaged_lines_are_skipped(tmp_path):
    path = tmp_path / "runs.jsonl"
    _with([run(1)], path)
    with path.open("ab") as file:
        file.write(b'{"execution_id": "cut\n[]\nnull\n\xff\xfe\n{"a": 1}\n' + b"[" * 5000 + b"\n")
        file.write(json.dumps({**_plain(run(3)), "new_field": 1}).encode() + b"\n")
        file.write(json.dumps({**_plain(run(4)), "execution_time": float("nan")}).encode() + b"\n")
    assert Analytics(path).report()["total_executions"] == 2


def _plain(item: Execution) -> dict:
    return {name: getattr(item, name) for name in Execution.__dataclass_fields__}


def test_the_file_stays_bounded(tmp_path):
    path = tmp_path / "runs.jsonl"
    line = json.dumps(_plain(run(1)))
    path.write_text("\n".join([line] * (2 * KEPT + 5)) + "\n")
    analytics = Analytics(path)
    assert len(analytics) == KEPT
    assert len(path.read_text().splitlines()) == KEPT


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    analytics = Analytics(tmp_path / "file" / "runs.jsonl")
    with pytest.raises(StorageError):
        analytics.add(run(1))
    assert len(analytics) == 1


def test_a_profile_is_of_one_server_and_of_any_size():
    analytics = _with(
        [
            run(10, server="http://fast", work=100.0),
            run(90, server="http://slow", work=100.0, quality=0.5),
            run(3, name="video/b"),
        ]
    )
    fast, slow = analytics.profile("video/a", "http://fast"), analytics.profile("video/a", "http://slow")
    assert (fast.seconds_per_work, slow.seconds_per_work) == (0.1, 0.9)
    assert (fast.quality, slow.quality, fast.runs) == (None, 0.5, 1)
    assert analytics.profile("video/a").runs == 2
    assert analytics.profile("video/none").success_rate == 1.0
