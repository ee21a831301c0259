"""What changed in the downloads, for those who look on: a slow one misses steps, never the latest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from comfyops.models.transfer.request import DownloadProgress


@dataclass(frozen=True, slots=True)
class Download:
    """One file: the model's id, where it goes, how important it is, and how far it is."""

    model: str
    target: str
    priority: int
    progress: DownloadProgress

    def documented(self) -> dict[str, object]:
        """The documented fields of its progress, with file and priority."""
        return {**self.progress.documented(), "model": self.model, "target": self.target, "priority": self.priority}


class Events:
    """What one onlooker has not seen yet. Made by `Downloads.subscribe`; `close` ends it."""

    def __init__(self, leave: Callable[[Events], None]) -> None:
        self._leave = leave
        self._fresh: dict[str, Download] = {}
        self._changed = threading.Condition()
        self._closed = False

    def tell(self, download: Download) -> None:
        """This is the latest of a file."""
        with self._changed:
            self._fresh[download.model] = download
            self._changed.notify_all()

    def next(self, timeout: float | None = None) -> tuple[Download, ...]:
        """What changed since the last call, each file once; waits for it. Empty after `timeout` seconds, or `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._closed, timeout)
            fresh, self._fresh = tuple(self._fresh.values()), {}
            return fresh

    def close(self) -> None:
        """Look on no more."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._leave(self)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
