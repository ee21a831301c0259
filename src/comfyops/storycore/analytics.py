"""What runs of workflows took and how they ended, kept in a file of JSON lines, newest last."""

from __future__ import annotations

import json
import logging
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from comfyops.errors import StorageError
from comfyops.support.files import storage_error, write_text

log = logging.getLogger(__name__)

KEPT = 1000
"""Runs that are remembered."""

_RECENT = 10


@dataclass(frozen=True, slots=True)
class Execution:
    """One run: seconds, GB, seconds since the epoch.

    `work` is its size in million pixels times frames, so that times of other sizes can be told from it; `quality` is
    measured from its frames, from 0 to 1, None where it has none. `error` is an error's code, "" for a success.
    `server` is the server's address, without login.
    """

    execution_id: str
    workflow_name: str
    execution_time: float
    success: bool
    memory_used: float
    timestamp: float
    work: float = 0.0
    quality: float | None = None
    cancelled: bool = False
    error: str = ""
    engine: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured of one workflow: `runs` without the cancelled ones; times are of the successes, in seconds."""

    runs: int = 0
    successes: int = 0
    median_time: float | None = None
    seconds_per_work: float | None = None
    memory: float | None = None
    quality: float | None = None

    @property
    def success_rate(self) -> float:
        """From 0 to 1; 1 before the first run."""
        return self.successes / self.runs if self.runs else 1.0


class Analytics:
    """The remembered runs. With a `path` they outlive the process, and several processes may write at once."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._runs = _read(path) if path else []

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Execution) -> None:
        """Remember a run. Raises StorageError where it cannot be written; it is remembered in memory then."""
        self._runs = [*self._runs, run][-KEPT:]
        if self._path:
            _append(self._path, run)

    def profile(self, workflow_name: str, server: str | None = None) -> Profile:
        """What was measured of one workflow, on one server where that is given: another one is as fast as it is."""
        named = [run for run in self._runs if run.workflow_name == workflow_name and not run.cancelled]
        runs = [run for run in named if server in (None, run.server)]
        good = [run for run in runs if run.success]
        return Profile(
            runs=len(runs),
            successes=len(good),
            median_time=_median(run.execution_time for run in good),
            seconds_per_work=_median(run.execution_time / run.work for run in good if run.work > 0),
            memory=_median(run.memory_used for run in good if run.memory_used > 0),
            quality=_median(run.quality for run in good if run.quality is not None),
        )

    def report(self) -> dict[str, Any]:
        """Every documented figure, 0 where nothing was measured; `average_` and percentiles are of the successes.

        Cancelled runs are counted on their own and are in no rate.
        """
        runs = [run for run in self._runs if not run.cancelled]
        names = sorted({run.workflow_name for run in runs})
        return {
            **_figures(runs),
            "cancelled_executions": len(self._runs) - len(runs),
            "workflow_performance": {
                name: _of_workflow([run for run in runs if run.workflow_name == name]) for name in names
            },
            "recent_performance": [_shown(run) for run in self._runs[-_RECENT:]],
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _figures(runs: Sequence[Execution]) -> dict[str, Any]:
    good = [run for run in runs if run.success]
    times = [run.execution_time for run in good]
    return {
        "total_executions": len(runs),
        "successful_executions": len(good),
        "failed_executions": len(runs) - len(good),
        "success_rate": len(good) / len(runs) if runs else 0.0,
        "average_execution_time": statistics.fmean(times) if times else 0.0,
        "p50_execution_time": percentile(times, 0.5),
        "p95_execution_time": percentile(times, 0.95),
        "average_memory_usage": statistics.fmean([run.memory_used for run in good]) if good else 0.0,
    }


def _of_workflow(runs: Sequence[Execution]) -> dict[str, Any]:
    figures = _figures(runs)
    return {
        "executions": figures["total_executions"],
        "successes": figures["successful_executions"],
        "failures": figures["failed_executions"],
        "total_time": sum(run.execution_time for run in runs),
        "total_memory": sum(run.memory_used for run in runs),
        "success_rate": figures["success_rate"],
        "avg_execution_time": figures["average_execution_time"],
        "p50_execution_time": figures["p50_execution_time"],
        "p95_execution_time": figures["p95_execution_time"],
        "avg_memory_usage": figures["average_memory_usage"],
    }


def _shown(run: Execution) -> dict[str, Any]:
    shown = ("execution_id", "workflow_name", "execution_time", "success", "memory_used", "timestamp")
    return {name: getattr(run, name) for name in shown}


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


def _append(path: Path, run: Execution) -> None:
    """One write of one line: other processes' lines stay whole, and a crash costs at most this one."""
    line = json.dumps(asdict(run), ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from error


def _read(path: Path) -> list[Execution]:
    """The newest runs of a file; lines that are cut short or of another form are skipped."""
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return []
    found = [_parsed(line) for line in lines]
    runs = [run for run in found if run is not None][-KEPT:]
    if len(lines) > 2 * KEPT:
        with suppress(StorageError):  # a file that grows is no reason to fail
            write_text(path, "".join(json.dumps(asdict(run), ensure_ascii=False) + "\n" for run in runs))
    if len(runs) < min(len(lines), KEPT):
        log.warning("%s holds lines that are no runs; they are skipped.", path)
    return runs


def _parsed(line: str) -> Execution | None:
    try:
        data = json.loads(line)
        known = {item.name for item in fields(Execution)}
        run = Execution(**{name: value for name, value in data.items() if name in known})
        numbers = (run.execution_time, run.memory_used, run.timestamp, run.work)
        return run if all(math.isfinite(number) for number in numbers) else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
