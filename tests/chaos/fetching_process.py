"""A process that fetches a plan and may be killed: `fetching_process.py PLAN.json`; prints its results as JSON.

The plan: {"files": [{"name", "target", "url", "sha256", "size"}], "connections": 4, "clock": "backwards" or "normal",
"stall_timeout": seconds}.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from pathlib import Path


def turn_the_clock_back() -> None:
    """The machine's clock goes an hour back each time somebody looks at it."""
    steps = count(1)
    time.time = lambda: 2e9 - 3600.0 * next(steps)  # type: ignore[assignment]


def main(path: str) -> int:
    """0 where every file is in its place."""
    plan = json.loads(Path(path).read_text())
    if plan.get("clock") == "backwards":
        turn_the_clock_back()
    from comfyops.models.transfer import FileRequest, Transfers, TransferSettings

    requests = [
        FileRequest(item["name"], Path(item["target"]), (item["url"],), item.get("size"), item.get("sha256"))
        for item in plan["files"]
    ]
    settings = TransferSettings(connections=plan.get("connections", 4), stall_timeout=plan.get("stall_timeout", 5))
    print("ready", flush=True)
    results = Transfers(settings).run(requests)
    for result in results:
        error = None if result.error is None else result.error.code
        kept = {"ok": result.ok, "downloaded": result.downloaded_bytes, "reused": result.reused_bytes, "error": error}
        print(json.dumps(kept))
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
