"""A file that tells which runs a simulated server began and ended, and that outlives it however it dies."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from comfyops.simulator.history import now


class RunLog:
    """Adds a line of JSON for each begin and each end of a run. Without a path nothing is kept.

    {"server": "another at each start", "run": "id of the prompt", "event": "begin", "at": 1700000000000}
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._server = uuid4().hex

    def note(self, event: str, run_id: str) -> None:
        """Add a line."""
        if self._path is not None:
            line = json.dumps({"server": self._server, "run": run_id, "event": event, "at": now()})
            with self._path.open("a") as file:
                file.write(f"{line}\n")
