"""One row per measurement, and how the rows are shown and kept."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from comfyops import __version__
from comfyops.support.files import write_text


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `goal` is the most that `measured` may be, None where it is for information only."""

    subject: str
    what: str
    measured: float
    unit: str
    how: str
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, None where there is none."""
        return None if self.goal is None else self.measured <= self.goal


def show(rows: Iterable[Row]) -> str:
    """The rows as a table of text."""
    cells = [("what", "goal", "measured", "unit", "how")]
    for row in rows:
        goal = "-" if row.goal is None else f"<= {row.goal:g}"
        missed = " MISSED" if row.met is False else ""
        cells.append((f"{row.subject}: {row.what}", goal, f"{number(row.measured)}{missed}", row.unit, row.how))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = []
    for *front, how in cells:
        padded = [text.ljust(width) for text, width in zip(front, widths, strict=True)]
        lines.append("  ".join([*padded, how]).rstrip())
    lines.insert(1, "-" * (sum(widths) + 2 * len(widths) + 30))
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def save(rows: Iterable[Row], path: Path) -> None:
    """Write the rows, and what they were measured on, as JSON. Raises StorageError."""
    data = {
        "schema": "bench/1",
        "comfyops": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    write_text(path, json.dumps(data, indent=2) + "\n")
