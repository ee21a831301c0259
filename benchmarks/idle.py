"""What `comfyops serve` costs while nothing happens: its processor time as the system counts it, and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.server import comfyops
from benchmarks.simulators import simulators
from benchmarks.table import Row

_SETTLE = 180.0  # seconds, at most, in which the servers are looked at for the first time
_CALM = 3.0  # percent of a core below which that is over


def measure(*, quick: bool) -> Iterator[Row]:
    """With one server and with many; nothing where the system has no /proc."""
    if not Path("/proc/self/stat").exists():
        return
    seconds, settle = (1.0, 1.0) if quick else (20.0, _SETTLE)
    for count in (1,) if quick else (1, 16, 64):
        with simulators(count) as urls, _serving(urls) as process:
            _settle(process.pid, settle)
            share, memory = _share(process.pid, seconds), _memory(process.pid)
        how = f"`comfyops serve`, {count} simulated servers; {seconds:g} s, once they have been looked at; of one core"
        yield Row("jobs", f"CPU of an idle gateway, {count} servers", share, "%", how, 2 if count <= 16 else None)
        yield Row("jobs", f"memory of an idle gateway, {count} servers", memory, "MiB", how)


@contextmanager
def _serving(urls: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    backends = [part for url in urls for part in ("--backend", url)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COMFYOPS_HOME": folder}
        command = [comfyops(), "serve", "--port", "0", "--json", *backends]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                _read_answer(process)
                yield process
            finally:
                process.terminate()


def _read_answer(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        text += process.stdout.readline() or "\n}\n"
    json.loads(text)


def _settle(pid: int, most: float) -> None:
    """Wait until two looks in a row find it calm."""
    give_up, calm = time.monotonic() + most, 0
    while calm < 2 and time.monotonic() < give_up:
        calm = calm + 1 if _share(pid, min(4.0, most)) < _CALM else 0


def _share(pid: int, seconds: float) -> float:
    """Percent of a core over so many seconds."""
    began, used = time.monotonic(), _ticks(pid)
    time.sleep(seconds)
    return 100 * (_ticks(pid) - used) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def _memory(pid: int) -> float:
    """MiB that it has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ticks(pid: int) -> int:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
