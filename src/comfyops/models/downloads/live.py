"""`Downloads`: the files that this process fetches, steered from any thread, and by the keeper from other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from comfyops.errors import ComfyOpsError, UnknownModelError
from comfyops.models.downloads.events import Download, Events
from comfyops.models.downloads.keeper import Keeper
from comfyops.models.downloads.records import RecordedFile
from comfyops.models.plan import Item
from comfyops.models.provision import Outcome
from comfyops.models.transfer.engine import Transfers
from comfyops.models.transfer.request import DownloadProgress, FileRequest
from comfyops.models.transfer.space import too_little
from comfyops.support.threads import Thread

_FIRST_LOOK = 1.0  # seconds until a full disk is looked at again; twice as long each time, at most
_LAST_LOOK = 60.0

Listener = Callable[[DownloadProgress], None]


class Fetches(Protocol):
    """What brings files to their places: a `Provision`."""

    def fetch(
        self,
        items: Sequence[Item],
        on_progress: Listener | None = None,
        on_ready: Callable[[Transfers], None] | None = None,
    ) -> tuple[Outcome, ...]:
        """See `Provision.fetch`."""


@dataclass(slots=True, eq=False)
class _File:
    """A file as this process knows it; guarded by the lock of `Downloads`."""

    item: Item
    priority: int
    progress: DownloadProgress
    active: bool = True
    held: bool = False
    cancelled: bool = False
    transfers: Transfers | None = None
    outcome: Outcome | None = None
    space_at: float | None = None  # when the full disk is looked at again
    space_wait: float = _FIRST_LOOK


class Downloads:
    """The downloads of one models folder in this process. Every method may be called from any thread.

    With `home`, what is queued, running or paused is written down there: other processes see it and may steer it, and
    after a crash or a `close` it may be gone on with (`records.left`). `place` says in the caller's words which models
    folder this is. A file for which the disk has no room pauses, and goes on when there is room.
    """

    def __init__(self, fetches: Fetches, home: Path | None = None, place: Mapping[str, Any] | None = None) -> None:
        self._fetches = fetches
        self._files: dict[str, _File] = {}
        self._threads: list[Thread] = []
        self._events: list[Events] = []
        self._lock = threading.RLock()
        self._closing = False
        self._fault: BaseException | None = None
        self._keeper = Keeper(self, home, place or {})

    def start(self, items: Iterable[Item], priorities: Mapping[str, int] | None = None) -> None:
        """Begin to fetch; returns at once. Files that are being fetched already are not begun twice.

        Higher `priorities` (by the model's id) come first. Raises StorageError where `home` cannot be written.
        """
        with self._lock:
            fresh = [self._queued(item, priorities or {}) for item in items if not self._running(item.entry.id)]
        if not fresh:
            return
        self._keeper.begin(file.item.target for file in fresh)
        thread = Thread(self._bring, fresh, name="downloads")
        with self._lock:
            self._fault = None
            self._threads.append(thread)
        thread.start()

    def pause(self, model: str | None = None) -> None:
        """Stop a file, by its model's id, or all; what came is kept. Raises UnknownModelError."""
        with self._lock:
            for file in self._chosen(model):
                if file.active and not file.held:
                    file.held = True
                    if file.transfers is not None:
                        file.transfers.pause(file.item.entry.id)

    def resume(self, model: str | None = None) -> None:
        """Go on with a paused file, or all. Raises UnknownModelError."""
        again = []
        with self._lock:
            for file in self._chosen(model):
                file.held = False
                if file.transfers is not None and file.active:
                    file.transfers.resume(file.item.entry.id)
                elif not file.active and file.progress.status == "paused":
                    again.append(file.item)
        self.start(again)

    def cancel(self, model: str | None = None) -> None:
        """Give up a file, or all. What came of it is kept on the disk for another time. Raises UnknownModelError."""
        with self._lock:
            for file in self._chosen(model):
                file.cancelled = True
                if file.transfers is not None:
                    file.transfers.cancel(file.item.entry.id)
                if not file.active and file.progress.status == "paused":
                    self._set(file, replace(file.progress, status="failed", error_message="It was cancelled."))

    def retry(self, model: str | None = None) -> None:
        """Try a file that failed once more, or all that did. Raises UnknownModelError."""
        with self._lock:
            failed = [
                file.item
                for file in self._chosen(model)
                if not file.active and file.progress.status in ("failed", "paused")
            ]
        self.start(failed)

    def set_priority(self, model: str | None, priority: int) -> None:
        """Files of a higher priority begin earlier and are served first. Raises UnknownModelError."""
        with self._lock:
            for file in self._chosen(model):
                file.priority = priority
                if file.transfers is not None:
                    file.transfers.prioritise(file.item.entry.id, priority)
                self._tell(file)

    def snapshot(self) -> tuple[Download, ...]:
        """Every file as it is now, in the order in which they came."""
        with self._lock:
            return tuple(_download(file) for file in self._files.values())

    def subscribe(self) -> Events:
        """What changes from now on."""
        events = Events(self._events.remove)
        with self._lock:
            self._events.append(events)
        return events

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being fetched any more; whether that is so. Raises what a whole plan failed with."""
        until = None if timeout is None else time.monotonic() + timeout
        while running := self._alive():
            running[0].join(0.5 if until is None else max(0.0, min(0.5, until - time.monotonic())))
            if until is not None and time.monotonic() >= until:
                return not self._alive()
        if self._fault is not None:
            raise self._fault
        return True

    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of the files that have ended."""
        with self._lock:
            return tuple(file.outcome for file in self._files.values() if file.outcome is not None)

    def close(self) -> None:
        """Stop everything and keep what came. What is not there yet stays written down, to be gone on with."""
        with self._lock:
            self._closing = True
            for file in self._files.values():
                if file.active and file.transfers is not None:
                    file.transfers.cancel(file.item.entry.id)
        for thread in self._alive():
            thread.join()
        self._keeper.end()

    def recorded(self) -> tuple[RecordedFile, ...]:
        """What the keeper writes down: the files that have not come."""
        with self._lock:
            files = [file for file in self._files.values() if file.progress.status != "completed"]
            return tuple(RecordedFile(file.item, file.priority, file.progress) for file in files)

    def placed(self) -> tuple[str, ...]:
        """The places of the files that have come."""
        with self._lock:
            return tuple(file.item.target for file in self._files.values() if file.progress.status == "completed")

    def look_for_space(self) -> None:
        """Go on with files whose disk was full, where it has room again."""
        now, again = time.monotonic(), []
        with self._lock:
            for file in self._files.values():
                if file.space_at is None or file.active or file.cancelled or now < file.space_at:
                    continue
                file.space_wait = min(_LAST_LOOK, 2 * file.space_wait)
                file.space_at = now + file.space_wait
                entry = file.item.entry
                if not too_little([FileRequest(entry.id, Path(file.item.target), (), entry.size)], 0.0):
                    again.append(file.item)
        if not self._closing:
            self.start(again)

    def _queued(self, item: Item, priorities: Mapping[str, int]) -> _File:
        model = item.entry.id
        before = self._files.get(model)
        priority = priorities.get(model, before.priority if before else 0)
        queued = DownloadProgress(model, item.entry.size or 0, 0, 0.0, None, "queued")
        file = _File(item, priority, queued, space_wait=before.space_wait if before else _FIRST_LOOK)
        self._files[model] = file
        self._tell(file)
        return file

    def _alive(self) -> list[Thread]:
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive() or thread.ident is None]
            return self._threads

    def _running(self, model: str) -> bool:
        return model in self._files and self._files[model].active

    def _chosen(self, model: str | None) -> list[_File]:
        if model is None:
            return list(self._files.values())
        if model not in self._files:
            raise UnknownModelError(
                f"{model!r} is not among the downloads.", hint="See `comfyops models downloads ls`."
            )
        return [self._files[model]]

    def _bring(self, files: Sequence[_File]) -> None:
        """Fetch one plan, in a thread of its own."""
        mine = {file.item.entry.id: file for file in files}
        try:
            for outcome in self._fetches.fetch(
                [file.item for file in files],
                lambda progress: self._heard(mine[progress.model_name], progress),
                lambda transfers: self._ready(mine, transfers),
            ):
                self._ended(mine[outcome.entry.id], outcome)
        except BaseException as fault:  # noqa: BLE001  raised again by `wait`
            self._fault = fault
            code = fault.code if isinstance(fault, ComfyOpsError) else "internal"
            for file in files:
                self._ended(file, Outcome(file.item.entry, False, file.item.target, code=code, message=str(fault)))

    def _ready(self, mine: Mapping[str, _File], transfers: Transfers) -> None:
        """The transfers of a plan begin: tell them what was wished meanwhile."""
        with self._lock:
            for name in transfers.names():
                file = mine[name]
                file.transfers = transfers
                transfers.prioritise(name, file.priority)
                if file.held:
                    transfers.pause(name)
                if file.cancelled or self._closing:
                    transfers.cancel(name)

    def _heard(self, file: _File, progress: DownloadProgress) -> None:
        with self._lock:
            if not file.active:
                return
            file.active = progress.status not in ("completed", "failed")
            self._set(file, self._stopped(file, progress) if progress.status == "failed" else progress)

    def _ended(self, file: _File, outcome: Outcome) -> None:
        """What became of a file whose plan is done; it may have been begun anew since it ended."""
        with self._lock:
            file.outcome = outcome
            last = replace(file.progress, speed_mbps=0.0, eta_seconds=None)
            if outcome.ok:
                self._set(file, _completed(last, outcome))
            elif file.active:
                failed = replace(last, status="failed", error_message=outcome.message, error_code=outcome.code)
                self._set(file, self._stopped(file, failed))
            file.active, file.transfers = False, None

    def _stopped(self, file: _File, failed: DownloadProgress) -> DownloadProgress:
        """A file that failed: paused where there is only no room for it, or where everything is being closed."""
        full = failed.error_code == "disk_full" and not file.cancelled
        if full:
            file.space_at = time.monotonic() + file.space_wait
        closed = self._closing and not file.cancelled and failed.error_code == "download_cancelled"
        if closed:
            failed = replace(failed, error_message=None, error_code=None)
        return replace(failed, status="paused" if full or closed else "failed", speed_mbps=0.0, eta_seconds=None)

    def _set(self, file: _File, progress: DownloadProgress) -> None:
        file.progress = progress
        self._tell(file)

    def _tell(self, file: _File) -> None:
        if self._files.get(file.item.entry.id) is not file:
            return
        self._keeper.changed()
        for events in self._events:
            events.tell(_download(file))


def _download(file: _File) -> Download:
    return Download(file.item.entry.id, file.item.target, file.priority, file.progress)


def _completed(last: DownloadProgress, outcome: Outcome) -> DownloadProgress:
    try:
        size = Path(outcome.path).stat().st_size
    except OSError:
        size = last.total_bytes
    return replace(last, status="completed", total_bytes=size, downloaded_bytes=size, eta_seconds=0.0)
