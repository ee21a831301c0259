"""Programs of others: listened to without end, stopped with what they started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from comfyops.errors import StorageError
from comfyops.support.processes import Process, RotatingFile

SECONDS = 20.0
PATIENT = "import time; print('ready', flush=True); time.sleep(600)"
DEAF = f"import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; {PATIENT}"


def start(folder: Path, code: str, lines: list[str] | None = None, log: RotatingFile | None = None) -> Process:
    return Process(
        [sys.executable, "-c", code],
        folder=folder,
        environment=dict(os.environ),
        log=log or RotatingFile(folder / "log"),
        on_line=lines.append if lines is not None else None,
    )


async def until(holds: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_program_that_prints_more_than_a_pipe_holds_comes_to_its_end(tmp_path: Path) -> None:
    lines: list[str] = []
    log = RotatingFile(tmp_path / "logs" / "log", most=100_000, kept=2)
    process = start(tmp_path, "for n in range(20000): print(n, 'x' * 80)", lines, log)
    assert await process.wait(SECONDS) == 0
    assert await process.stop() == 0
    assert len(lines) == 20000 and lines[-1].startswith("19999 ") and process.last_lines[-1] == lines[-1]
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= 100_000 for path in log.path.parent.iterdir())
    assert log.path.read_text().splitlines()[-1] == lines[-1]


@pytest.mark.parametrize("error", [BrokenPipeError("nobody reads"), SystemExit(1)])
async def test_a_listener_that_fails_is_told_no_more_and_holds_nothing_up(tmp_path: Path, error: BaseException) -> None:
    told: list[str] = []

    def fails(line: str) -> None:
        told.append(line)
        raise error

    command = [sys.executable, "-c", "for n in range(3000): print(n, 'x' * 80)"]
    log = RotatingFile(tmp_path / "log")
    process = Process(command, folder=tmp_path, environment=dict(os.environ), log=log, on_line=fails)
    assert await process.wait(SECONDS) == 0
    await process.stop()
    assert len(told) == 1 and process.last_lines[-1].startswith("2999 ")


async def test_lines_of_bars_and_endless_lines_are_passed_on(tmp_path: Path) -> None:
    lines: list[str] = []
    process = start(tmp_path, r"import sys; sys.stdout.write('a\rb\r\n\n' + 'x' * 300000 + '\nend'); print()", lines)
    await process.wait(SECONDS)
    await process.stop()
    assert lines[:2] == ["a", "b"] and lines[-1] == "end" and all(len(line) <= 8192 for line in lines)


async def test_stopping_is_what_ctrl_c_does(tmp_path: Path) -> None:
    process = start(tmp_path, f"try:\n  {PATIENT}\nexcept KeyboardInterrupt:\n  print('goodbye')")
    await until(lambda: "ready" in process.last_lines)
    assert await process.stop() == 0 and process.last_lines[-1] == "goodbye"


async def test_a_deaf_program_is_ended_by_force(tmp_path: Path) -> None:
    process = start(tmp_path, DEAF)
    await until(lambda: "ready" in process.last_lines)
    assert await process.wait(0.05) is None
    assert await process.stop(0.2) == -signal.SIGKILL


async def test_what_a_program_started_goes_with_it(tmp_path: Path) -> None:
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {DEAF!r}]).pid, flush=True)"
    process = start(tmp_path, f"{child}; import time; time.sleep(600)")
    await until(lambda: len(process.last_lines) == 2)
    pid = int(next(line for line in process.last_lines if line.isdigit()))
    await process.stop(1.0)
    await until(lambda: gone(pid))


async def test_an_impatient_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start(tmp_path, DEAF)
    await until(lambda: "ready" in process.last_lines)
    task = asyncio.create_task(process.stop(600))
    await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert process.exit_code == -signal.SIGKILL


async def test_a_log_whose_disk_is_full_does_not_stop_the_program(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    process = start(tmp_path, "print('x' * 100000); print('end')", log=RotatingFile(Path("/dev/full")))
    assert await process.wait(SECONDS) == 0
    await process.stop()
    assert process.last_lines[-1] == "end"


def test_a_log_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        RotatingFile(tmp_path / "file" / "log")


def gone(pid: int) -> bool:
    """Whether a process is no more, or waits only for somebody to look at its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
