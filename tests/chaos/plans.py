"""Plans of several files on a simulated hub, and processes that fetch them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from comfyops.testing.model_hub import ModelHub

WHOLE = os.environ.get("COMFYOPS_TEST_ALL") == "1"
"""Whether the long tests run in full."""

SEED = int(os.environ.get("CHAOS_SEED", "0")) or (random.SystemRandom().randrange(1, 10**6) if WHOLE else 6)
"""Of the troubles that tests make by chance. Each full run has another one, and says which."""


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that look like weights: no two places alike."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True, slots=True)
class Plan:
    """Files of a hub to be fetched into a folder."""

    hub: ModelHub
    folder: Path
    files: dict[str, bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def write(self, **options: object) -> Path:
        """The plan as a file for `fetching_process.py`."""
        path = self.folder.parent / f"{self.folder.name}.json"
        files = [
            {
                "name": name,
                "target": str(self.target(name)),
                "url": self.hub.url(f"org/repo/{name}"),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
            }
            for name, data in self.files.items()
        ]
        path.write_text(json.dumps({"files": files, **options}))
        return path

    def target(self, name: str) -> Path:
        """Where a file belongs."""
        return self.folder / "models" / name

    def is_complete(self) -> bool:
        """Every file is in its place with exactly its bytes, and nothing else lies there."""
        there = {path.name: path.read_bytes() for path in (self.folder / "models").iterdir() if path.is_file()}
        return there == self.files

    def wrong(self) -> list[str]:
        """Files that are in their place with other bytes: must be none at any time."""
        placed = [name for name in self.files if self.target(name).exists()]
        return [name for name in placed if self.target(name).read_bytes() != self.files[name]]


def start(plan: Path) -> subprocess.Popen[str]:
    """A process that fetches a plan; it has said that it is ready."""
    script = Path(__file__).with_name("fetching_process.py")
    process = subprocess.Popen([sys.executable, str(script), str(plan)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """The results of a process that comes to its end by itself."""
    output, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines()]
