"""What one process asks of the downloads of another: small files in its record's folder, taken in their order.

Files and not a socket: they work on every system, need no port, and nothing of them is lost or left hanging when either
side is killed. Who may write into the home folder may steer its downloads.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from comfyops.models.downloads.records import Record
from comfyops.support.files import write_text

Verb = Literal["pause", "resume", "cancel", "retry", "priority"]
LOOK_EVERY = 0.2
"""Seconds between two looks at what is asked."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: of one model, by its id, or of all (None). `priority` goes with that verb."""

    verb: Verb
    model: str | None = None
    priority: int = 0


def send(record: Record, ask: Ask, timeout: float) -> bool:
    """Ask it of the record's process; whether it has followed within `timeout` seconds. Raises StorageError."""
    path = record.asks / f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
    write_text(path, json.dumps(asdict(ask)))
    until = time.monotonic() + timeout
    while path.exists():
        if time.monotonic() > until:
            with suppress(OSError):
                path.unlink()
            return False
        time.sleep(LOOK_EVERY / 4)
    return True


def taken(folder: Path) -> Iterator[Ask]:
    """What was asked since the last look. A request is removed after it was followed, so its sender knows."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    except OSError:
        return
    for path in paths:
        ask = _read(path)
        if ask is not None:
            yield ask
        with suppress(OSError):
            path.unlink()


def _read(path: Path) -> Ask | None:
    try:
        ask = Ask(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    good = ask.verb in get_args(Verb) and isinstance(ask.model, str | None) and isinstance(ask.priority, int)
    return ask if good else None
