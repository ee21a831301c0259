"""`python -m benchmarks [--quick] [--only SUBJECT] [--output FILE]`; COMFYUI_URL names a server to measure instead."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    client,
    conversion,
    downloads,
    gateway,
    jobs,
    models,
    peers,
    simulating,
    startup,
    storyboards,
    validation,
)
from benchmarks.table import Row, save, show

SUBJECTS = {
    "validation": validation.measure,
    "conversion": conversion.measure,
    "peers": peers.measure,
    "client": client.measure,
    "start": startup.measure,
    "server": simulating.measure,
    "gateway": gateway.measure,
    "jobs": jobs.measure,
    "storyboard": storyboards.measure,
    "downloads": downloads.measure,
    "models": models.measure,
}


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, write it; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast ComfyOps is.")
    parser.add_argument("--quick", action="store_true", help="few repetitions and small graphs: does it run at all?")
    parser.add_argument("--only", action="append", choices=tuple(SUBJECTS), help="measure this subject only")
    parser.add_argument("--output", type=Path, default=Path("bench-output/bench.json"), help="file for the figures")
    chosen = parser.parse_args(argv)
    server = os.environ.get("COMFYUI_URL") or None
    rows: list[Row] = []
    for subject in chosen.only or SUBJECTS:
        print(f"measuring: {subject}", file=sys.stderr)
        rows += SUBJECTS[subject](quick=chosen.quick, server=server)
    print(show(rows))
    save(rows, chosen.output)
    print(f"\nThe same as JSON: {chosen.output}")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
