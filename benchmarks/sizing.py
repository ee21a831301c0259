"""How many dispatchers a fleet needs, by the figures of `make bench`; the tables of docs/scaling.md.

`python -m benchmarks.sizing [bench-output/bench.json]` writes both tables of the page anew.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
USED = 0.5
"""The share of what a dispatcher can do that is planned with; the rest is for bursts and for taking others over."""

FLEETS = ((1, 10), (16, 10), (100, 10), (100, 60), (1000, 10), (1000, 60), (1000, 300))
"""Sizes that the page shows: servers, and seconds of a job."""

ROWS = {
    "cpu": "CPU of queue and dispatcher for a job",
    "rate": "carried out by 1 worker",
    "rates": "carried out by 4 workers",
    "start": "submit to start of the run, median",
    "round": "one round of placement",
    "bound": "fleet, times the bound",
    "fifo": "fleet, times first come first served",
    "even": "makespan, times the bound (even)",
    "skewed": "makespan, times the bound (skewed)",
    "many": "submit to start with many waiting, p99",
    "idle1": "CPU of an idle gateway, 1 servers",
    "idle64": "CPU of an idle gateway, 64 servers",
    "memory1": "memory of an idle gateway, 1 servers",
    "memory64": "memory of an idle gateway, 64 servers",
}
"""The rows of the benchmark that the page is made of, by the names they have here."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a fleet needs. `jobs` a second with every server at work; `each` = MiB of memory of one dispatcher."""

    servers: int
    seconds: float
    jobs: float
    dispatchers: int
    each: float
    load: float


def size(servers: int, seconds: float, figures: Mapping[str, float]) -> Size:
    """The dispatchers for so many servers whose jobs take so many seconds, by `figures` as `ROWS` names them.

    A dispatcher is one process: the processor time of its jobs and of its idle servers must fit on one core, and its
    jobs a second within what one worker carries out. From two servers on there are two, so that one may die.
    """
    jobs = servers / seconds
    idle = max(0.0, figures["idle64"] - figures["idle1"]) / 63 / 100
    cores = jobs * figures["cpu"] / 1000 + servers * idle
    needed = max(cores, jobs / figures["rate"]) / USED
    dispatchers = max(1 if servers == 1 else 2, math.ceil(needed))
    slope = max(0.0, figures["memory64"] - figures["memory1"]) / 63
    each = figures["memory1"] + slope * math.ceil(servers / dispatchers)
    return Size(servers, seconds, jobs, dispatchers, each, cores / dispatchers)


def sizes(figures: Mapping[str, float]) -> list[str]:
    """The table of sizes, as lines of Markdown."""
    lines = ["| servers | seconds of a job | jobs a second | dispatchers | of one core each | memory of each |"]
    lines.append("|---|---|---|---|---|---|")
    for item in (size(*fleet, figures) for fleet in FLEETS):
        cells = (f"{item.servers:,}", f"{item.seconds:g}", f"{item.jobs:.3g}", str(item.dispatchers))
        lines.append("| " + " | ".join([*cells, f"{item.load:.0%}", f"{item.each:.0f} MiB"]) + " |")
    return lines


def figures_table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The table of figures, as lines of Markdown."""
    known = {str(row["what"]): row for row in rows}
    lines = ["| figure | goal | measured | how |", "|---|---|---|---|"]
    for what in ROWS.values():
        row = known[what]
        goal = "" if row["goal"] is None else f"<= {row['goal']:g} {row['unit']}"
        lines.append(f"| {what} | {goal} | {row['measured']:.3g} {row['unit']} | {row['how']} |")
    return lines


def read_figures(page: str) -> dict[str, float]:
    """The figures that a page tells."""
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    told = {line[0].strip(): line[2] for line in cells if len(line) == 4 and line[0].strip() in ROWS.values()}
    return {name: float(told[what].split()[0]) for name, what in ROWS.items()}


def with_table(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with another table between the marks of this name."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"(?<={re.escape(marks[0])}\n).*?(?={re.escape(marks[1])})", re.DOTALL)
    changed, count = pattern.subn(lambda _: "\n".join(["", *lines, "", ""]), page)
    if count != 1:
        raise ValueError(f"the page has no place for {name}")
    return changed


def updated(page: str, rows: Sequence[Mapping[str, object]] | None = None) -> str:
    """The page with the sizes that follow from its figures, which are those of `rows` where given."""
    if rows is not None:
        page = with_table(page, "figures", figures_table(rows))
    return with_table(page, "sizes", sizes(read_figures(page)))


if __name__ == "__main__":
    kept = json.loads(Path(sys.argv[1]).read_text())["rows"] if len(sys.argv) > 1 else None
    PAGE.write_text(updated(PAGE.read_text(), kept))
