"""Processes that are killed, run twice at once, or live with a clock that goes backwards."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.models.transfer.journal import Journal, load
from comfyops.testing.model_hub import Faults, ModelHub
from tests.chaos.plans import WHOLE, Plan, content, end, start

MB = 1_000_000
RATE = 5.0 * MB  # of one connection
CONNECTIONS = 4
KILLS = 200 if WHOLE else 12
JOURNAL_SECONDS = 0.5  # what a killed process may have to fetch again
SLICE = 256 * 1024  # what the hub sends at once, and may be on its way when a process dies


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    """Three files of different sizes, 36 MB, at 20 MB/s altogether."""
    files = {
        f"{name}.safetensors": content(size, size) for name, size in (("a", 20 * MB), ("b", 11 * MB), ("c", 5 * MB))
    }
    served = {f"org/repo/{name}": data for name, data in files.items()}
    with ModelHub(served, Faults(throttle=RATE)) as hub:
        yield Plan(hub, tmp_path / "round", files)


@pytest.mark.timeout(900)
def test_random_kills_lose_half_a_second_each_and_end_with_exact_files(plan: Plan, tmp_path: Path) -> None:
    chance = random.Random(4)
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        fresh = Plan(plan.hub, tmp_path / f"round-{rounds}", plan.files)
        sent_before, kills_before = plan.hub.sent(), kills
        while not _survives(start(fresh.write(connections=CONNECTIONS)), chance.uniform(0.02, 1.2)):
            kills += 1
            assert fresh.wrong() == []
            assert kills < KILLS + 100
        assert fresh.is_complete()
        extra = plan.hub.sent() - sent_before - plan.size
        most = RATE * CONNECTIONS * JOURNAL_SECONDS + CONNECTIONS * SLICE
        assert extra <= most * (kills - kills_before)
    assert kills >= KILLS


def _survives(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill the process after so many seconds; true where it came to its end before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    assert end(process) != [] and process.returncode == 0
    return True


def test_what_came_before_a_silence_is_in_the_journal_while_the_silence_lasts(tmp_path: Path) -> None:
    data = content(2 * MB)
    with ModelHub({"org/repo/a.safetensors": data}, Faults(throttle=SLICE / 60)) as hub:  # a slice a minute
        plan = Plan(hub, tmp_path / "round", {"a.safetensors": data})
        description = plan.write(connections=1, stall_timeout=120)
        process = start(description)
        while not hub.sent() or _recorded(plan) < hub.sent():
            assert hub.sent() <= SLICE and process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.communicate()
        hub.faults = Faults()
        sent = hub.sent()
        (result,) = end(start(description))
        assert plan.is_complete() and result["reused"] == sent == SLICE
        assert hub.sent() == plan.size


def _recorded(plan: Plan) -> int:
    """Bytes of the journals of a plan."""
    return sum(end - start for kept in _journals(plan) for start, end in kept.written)


def _journals(plan: Plan) -> list[Journal]:
    """Of the files that are on their way. One that was placed just now has its journal still, but no part."""
    paths = [path for path in (plan.folder / "models").glob(".*.part.json") if path.with_suffix("").exists()]
    return [kept for kept in map(load, paths) if kept is not None]


def test_a_power_cut_loses_what_the_disk_had_not_got(plan: Plan) -> None:
    """After a restart of the machine only what was on its disk counts; that is written down all the time."""
    description = plan.write(connections=CONNECTIONS)
    process = start(description)
    while not any(kept.synced for kept in _journals(plan)):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    for path in (plan.folder / "models").glob(".*.part.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "the one before"}))
    safe = sum(end - start for kept in _journals(plan) for start, end in kept.synced)
    placed = sum(len(data) for name, data in plan.files.items() if plan.target(name).exists())
    results = end(start(description))
    assert plan.is_complete() and sum(int(str(item["reused"])) for item in results) - placed == safe > 0


def test_two_processes_share_one_download(plan: Plan) -> None:
    description = plan.write(connections=CONNECTIONS)
    processes = [start(description), start(description)]
    results = [end(process) for process in processes]
    assert all(item["ok"] for result in results for item in result)
    assert plan.is_complete()
    assert plan.hub.sent() < plan.size + 2 * MB  # not twice; what is stolen at the end may be on its way already


def test_the_second_process_goes_on_where_the_first_was_killed(plan: Plan) -> None:
    description = plan.write(connections=CONNECTIONS)
    first, second = start(description), start(description)
    assert not _survives(first, 0.8)
    assert all(item["ok"] for item in end(second))
    assert plan.is_complete()
    assert plan.hub.sent() < plan.size + RATE * CONNECTIONS


def test_a_clock_that_goes_backwards_changes_nothing(plan: Plan) -> None:
    plan.hub.faults = Faults(throttle=RATE, statuses=(("store", 429, {"Retry-After": "1"}),))
    description = plan.write(connections=CONNECTIONS, clock="backwards")
    assert not _survives(start(description), 1.0)
    results = end(start(description))
    assert all(item["ok"] for item in results) and plan.is_complete()
    assert sum(int(str(item["reused"])) for item in results) > MB


def test_a_damaged_journal_costs_bytes_but_never_the_file(plan: Plan) -> None:
    description = plan.write(connections=CONNECTIONS)
    assert not _survives(start(description), 1.0)
    for journal in (plan.folder / "models").glob(".*.part.json"):
        journal.write_bytes(journal.read_bytes()[:40])
    assert all(item["ok"] for item in end(start(description))) and plan.is_complete()


def test_a_lying_journal_is_found_out_by_the_hash(plan: Plan) -> None:
    """As after a power cut on a disk that promised too much: the second attempt fetches everything."""
    description = plan.write(connections=CONNECTIONS)
    assert not _survives(start(description), 1.0)
    for journal in (plan.folder / "models").glob(".*.part.json"):
        state = json.loads(journal.read_text())
        journal.write_text(json.dumps({**state, "written": [[0, state["size"]]]}))
    assert all(item["ok"] for item in end(start(description))) and plan.is_complete()
