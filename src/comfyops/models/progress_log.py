"""Downloads and checks as log lines, in the words of the requirement document, with file and percent as fields."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from comfyops.models.check import Finding
from comfyops.models.hashing import HashProgress
from comfyops.models.transfer.request import DownloadProgress
from comfyops.support.logs import TALK

_log = logging.getLogger(f"{TALK}.models")

_EVERY = 1.0  # seconds, and
_STEP = 1.0  # percent, that lie between two lines about one file


class ProgressLog:
    """A listener of downloads: a line when a file begins, moves on by a percent, stops and ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status: dict[str, str] = {}
        self._said: dict[str, tuple[float, float]] = {}

    def __call__(self, progress: DownloadProgress) -> None:
        """Log what is new."""
        name, now = progress.model_name, self._clock()
        if self._status.get(name) != progress.status:
            resumed = self._status.get(name) == "paused"
            self._status[name] = progress.status
            self._turned(progress, resumed=resumed)
        elif progress.status == "downloading":
            since, percent = self._said.get(name, (0.0, -_STEP))
            if now - since >= _EVERY and (progress.percent or 0.0) - percent >= _STEP:
                self._moved(progress, now)

    def _turned(self, progress: DownloadProgress, *, resumed: bool) -> None:
        name, extra = progress.model_name, _fields(progress)
        if progress.status == "downloading":
            _log.info("⬇️  %s %s...", "Resuming" if resumed else "Downloading", name, extra=extra)
            self._said[name] = self._clock(), -_STEP
        elif progress.status == "completed":
            _log.info("   %s: 100.0%%", name, extra={**extra, "percent": 100.0})
            _log.info("✅ %s is in its place", name, extra={**extra, "percent": 100.0})
        elif progress.status == "failed":
            _log.error("❌ %s failed: %s", name, progress.error_message or "no reason is known", extra=extra)
        else:
            _log.info("   %s: %s", name, progress.status, extra=extra)

    def _moved(self, progress: DownloadProgress, now: float) -> None:
        percent = progress.percent or 0.0
        self._said[progress.model_name] = now, percent
        _log.info("   %s: %.1f%%", progress.model_name, percent, extra=_fields(progress))


class HashLog:
    """A listener of files that are read: a line for each percent of all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said = clock(), 0.0

    def __call__(self, told: HashProgress) -> None:
        """Log what is new."""
        percent, now = 100 * told.read_bytes / max(1, told.of_bytes), self._clock()
        if now - self._said[0] < _EVERY or percent - self._said[1] < _STEP:
            return
        self._said = now, percent
        extra = {"percent": round(percent, 1), "files": told.files, "of_files": told.of_files}
        extra |= {"read_bytes": told.read_bytes, "total_bytes": told.of_bytes}
        _log.info("   reading: %.1f%% of %d files", percent, told.of_files, extra=extra)


def log_findings(findings: Iterable[Finding]) -> None:
    """A line for each model that was looked at: INFO where it is right, WARNING where something must be done."""
    for item in findings:
        level = logging.WARNING if item.bad else logging.INFO
        extra = {"file": item.entry.id, "state": item.state.value, "percent": 100.0, "path": item.path}
        why = f" ({item.why})" if item.why else ""
        _log.log(level, "   %s: %s%s", item.entry.id, item.state.value, why, extra=extra)


def _fields(progress: DownloadProgress) -> dict[str, object]:
    return {
        "file": progress.model_name,
        "percent": None if progress.percent is None else round(progress.percent, 1),
        "status": progress.status,
        "total_bytes": progress.total_bytes,
        "downloaded_bytes": progress.downloaded_bytes,
        "speed_mbps": round(progress.speed_mbps, 3),
        "eta_seconds": progress.eta_seconds,
    }
