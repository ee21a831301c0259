"""How much memory a process takes that fetches many files at once, over many connections."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from comfyops.testing.model_hub import Faults, ModelHub
from tests.chaos.plans import content

FILES = 64
SIZE = 5_000_000
MOST = 100 * 1024  # KiB

FETCH = """
import sys
from pathlib import Path
from comfyops.models.transfer import FileRequest, Transfers, TransferSettings

folder, *urls = sys.argv[1:]
requests = [FileRequest(url, Path(folder) / str(number), (url,)) for number, url in enumerate(urls)]
results = Transfers(TransferSettings(connections=64, files=64)).run(requests)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(sum(result.ok for result in results), peak.split()[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
@pytest.mark.timeout(120)
def test_many_files_over_many_connections_take_less_than_a_hundred_megabytes(tmp_path: Path) -> None:
    data = content(SIZE)
    with ModelHub({f"org/repo/{number}": data for number in range(FILES)}, Faults(throttle=20e6)) as hub:
        urls = [hub.url(f"org/repo/{number}") for number in range(FILES)]
        done = subprocess.run(
            [sys.executable, "-c", FETCH, str(tmp_path), *urls], capture_output=True, text=True, check=True, timeout=100
        )
    came, peak = map(int, done.stdout.split())
    assert came == FILES and peak < MOST
