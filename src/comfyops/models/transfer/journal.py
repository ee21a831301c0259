"""What is known about a partial file, kept beside it so that a killed process or a power cut loses little.

    models/vae/.flux2-vae.safetensors.1a2b3c4d.part        the bytes, at their final offsets, with holes
    models/vae/.flux2-vae.safetensors.1a2b3c4d.part.json   this journal

`written` holds what the process handed to the operating system: true as long as the machine has not restarted since.
`synced` holds what was on the disk when it was recorded: true for ever. Which one counts is told by `boot`.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from comfyops.models.transfer.ranges import Range, merged

_SCHEMA = "comfyops-partial/1"


@dataclass(frozen=True, slots=True)
class Journal:
    """`identity` is the file's SHA-256 or, where nobody knows it, its address; `etag` is that of `source`."""

    identity: str
    size: int
    source: str
    etag: str | None
    boot: str
    written: tuple[Range, ...] = ()
    synced: tuple[Range, ...] = ()

    def usable(self, boot: str) -> list[Range]:
        """The ranges that can be relied on after a restart of the process, or of the machine."""
        ranges = merged(self.written if boot == self.boot else self.synced)
        return ranges if not ranges or ranges[-1][1] <= self.size else []


def load(path: Path) -> Journal | None:
    """The journal of a partial file; None where there is none, or none that makes sense."""
    try:
        data = json.loads(path.read_bytes())
        if data.pop("schema") != _SCHEMA:
            return None
        for name in ("written", "synced"):
            data[name] = tuple((start, end) for start, end in data[name])
        found = Journal(**data)
        return found if _makes_sense(found) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _makes_sense(journal: Journal) -> bool:
    texts = (journal.identity, journal.source, journal.boot, journal.etag or "")
    ends = [end for pair in (*journal.written, *journal.synced) for end in pair]
    return all(type(text) is str for text in texts) and all(type(n) is int and n >= 0 for n in (journal.size, *ends))


def save(path: Path, journal: Journal, *, durable: bool = False) -> bool:
    """Replace the journal in one step; with `durable` it survives a power cut too.

    False where the disk refuses: the one before stays, and is still true.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(json.dumps({"schema": _SCHEMA, **asdict(journal)}).encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        return False
    return True


def boot_id() -> str:
    """A text that changes when the machine restarts (elsewhere than on Linux also when its clock is set)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"started {round((time.time() - time.monotonic()) / 60)}"
