"""The demo, as `make demo` renders it: the whole command, and a second run that finds nothing to do."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.server import comfyops
from benchmarks.table import Row


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """One cold run into an empty folder, one more into the same."""
    with tempfile.TemporaryDirectory() as folder:
        first, cold = _render(Path(folder), server)
        again, warm = _render(Path(folder), server)
    where = "embedded simulator" if first["simulated"] else first["backend"]
    panels = len(first["panels"])
    yield Row("storyboard", f"comfyops storyboard demo, {panels} panels", cold, "s", f"whole command; {where}")
    kept = sum(panel["state"] == "kept" for panel in again["panels"])
    yield Row("storyboard", "the same again", warm, "s", f"whole command; {kept} of {panels} panels kept")


def _render(folder: Path, server: str | None) -> tuple[dict[str, Any], float]:
    options = ["--server", server] if server else []
    began = time.perf_counter()
    done = subprocess.run(
        [comfyops(), "storyboard", "demo", "--json", "--output", "pictures", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["data"], time.perf_counter() - began
