"""How long the command and the package take to start, as a person waits for them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.graphs import diffusion
from benchmarks.server import comfyops
from benchmarks.table import Row
from benchmarks.timing import command, interleaved

GOAL_RATIO = 1.5


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Whole processes, in turn; the server plays no part."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "workflow.json"
        file.write_text(json.dumps(diffusion(7)))
        python = sys.executable
        work = {
            "pass": command(python, "-c", "pass"),
            "typer": command(python, "-c", "import typer"),
            "version": command(comfyops(), "--version"),
            "help": command(comfyops(), "--help"),
            "validate": command(comfyops(), "workflow", "validate", str(file)),
            "package": command(python, "-c", "import comfyops"),
            "client": command(python, "-c", "import comfyops.backends.comfyui"),
            "aiohttp": command(python, "-c", "import aiohttp"),
            "app": command(python, "-c", "import comfyops.app"),
        }
        taken = {name: seconds * 1000 for name, seconds in interleaved(work, 3 if quick else 25).items()}
    yield from _rows(taken)


def _rows(ms: dict[str, float]) -> Iterator[Row]:
    beside = f"{ms['version']:.1f} ms against {ms['typer']:.1f} ms; `python -c pass` alone {ms['pass']:.1f} ms"
    ratio = ms["version"] / ms["typer"]
    yield Row("start", "comfyops --version, times python -c 'import typer'", ratio, "x", beside, GOAL_RATIO)
    yield Row("start", "comfyops --help", ms["help"], "ms", "whole process, median")
    yield Row("start", "comfyops workflow validate, 7 nodes", ms["validate"], "ms", "whole process, median")
    yield Row("start", "python -c 'import comfyops'", ms["package"], "ms", f"bare Python {ms['pass']:.1f} ms")
    beside = f"bare Python {ms['pass']:.1f} ms, import aiohttp {ms['aiohttp']:.1f} ms"
    yield Row("start", "python -c 'import comfyops.backends.comfyui'", ms["client"], "ms", beside)
    yield Row(
        "start",
        "python -c 'import comfyops.app'",
        ms["app"],
        "ms",
        f"settings, no client; bare Python {ms['pass']:.1f} ms",
    )
