"""How far each file is, told a few times a second from counters: nothing is called per chunk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from comfyops.models.transfer.request import DownloadProgress, Status

Listener = Callable[[DownloadProgress], None]
INTERVAL = 0.2
_WINDOW = 5.0  # seconds over which the speed is taken


@dataclass(slots=True, eq=False)
class Meter:
    """The counters of one file; its driver writes them, the reporter reads them."""

    name: str
    total: int = 0
    present: Callable[[], int] = lambda: 0
    network: Callable[[], int] = lambda: 0
    status: Status = "queued"
    error: str | None = None
    code: str | None = None
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def read(self, now: float) -> DownloadProgress:
        """The progress at a time (monotonic seconds)."""
        present = self.present()
        self._seen.append((now, self.network()))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        running = self.status == "downloading"
        rate = (after - before) / (last - first) if running and last > first else 0.0
        left = self.total - present
        eta = left / rate if rate > 0 and self.total else 0.0 if self.status == "completed" else None
        return DownloadProgress(self.name, self.total, present, rate / 1e6, eta, self.status, self.error, self.code)


class Reporter:
    """Tells a listener what changed, from one thread of its own, and a last time at the end."""

    def __init__(self, meters: Iterable[Meter], listener: Listener | None, paused: threading.Event) -> None:
        self._meters = tuple(meters)
        self._listener = listener
        self._paused = paused
        self._told: dict[int, DownloadProgress] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Reporter:
        if self._listener is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._listener is not None:
            self._thread.join()
            self._tell()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        for number, meter in enumerate(self._meters):
            progress = meter.read(now)
            if self._paused.is_set() and progress.status == "downloading":
                progress = DownloadProgress(
                    progress.model_name, progress.total_bytes, progress.downloaded_bytes, 0.0, None, "paused"
                )
            if self._told.get(number) != progress and self._listener is not None:
                self._told[number] = progress
                self._listener(progress)
