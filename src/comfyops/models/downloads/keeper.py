"""The thread beside the downloads of a process: writes them down, follows what others ask, looks after full disks."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfyops.errors import StorageError, UnknownModelError
from comfyops.models.downloads import asks, records
from comfyops.models.downloads.asks import Ask
from comfyops.models.downloads.records import Record
from comfyops.support.locks import locked
from comfyops.support.threads import Thread

if TYPE_CHECKING:
    from comfyops.models.downloads.live import Downloads

_SAVE_EVERY = 1.0  # seconds, at most
_LOCK_TIMEOUT = 10.0  # seconds; others hold the lock for a moment, to see whether we live


class Keeper:
    """Keeps the record of one `Downloads`, from its first file to its end. Without a home nothing is written."""

    def __init__(self, downloads: Downloads, home: Path | None, place: Mapping[str, Any]) -> None:
        self._downloads = downloads
        self._home = home
        path = None if home is None else home / records.FOLDER / f"{secrets.token_hex(4)}.json"
        self._record = None if path is None else Record(path, os.getpid(), place)
        self._thread: Thread | None = None
        self._ready = threading.Event()
        self._ending = threading.Event()
        self._fresh = threading.Event()
        self._saved_at = float("-inf")
        self._error: StorageError | None = None

    def begin(self, targets: Iterable[str]) -> None:
        """Files with these targets are fetched from now on: what ended processes left of them is ours. Raises
        StorageError.
        """
        if self._home is not None:
            records.drop(self._home, targets)
        if self._thread is None:
            self._thread = Thread(self._run, name="downloads-keeper")
            self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def changed(self) -> None:
        """Something is to be written down."""
        self._fresh.set()

    def end(self) -> None:
        """Write down what is left, or remove the record where nothing is; the thread has ended afterwards."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._record is None:
            self._ready.set()
            while not self._ending.wait(asks.LOOK_EVERY):
                self._downloads.look_for_space()
            return
        try:
            self._record.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._record.lock, _LOCK_TIMEOUT):
                self._keep(self._record)
        except OSError as error:
            self._error = StorageError(f"{self._record.path.parent} cannot be written: {error}.")
        except StorageError as error:
            self._error = error
        finally:
            self._ready.set()

    def _keep(self, record: Record) -> None:
        records.save(self._now(record))
        self._ready.set()
        while not self._ending.wait(asks.LOOK_EVERY):
            for ask in asks.taken(record.asks):
                self._follow(ask)
            self._downloads.look_for_space()
            if self._fresh.is_set() and time.monotonic() - self._saved_at > _SAVE_EVERY:
                self._save(record)
        if self._home is not None:
            with suppress(StorageError):  # a process may have been killed while we waited for the same file
                records.drop(self._home, self._downloads.placed())
        if any(file.progress.status != "failed" for file in self._downloads.recorded()):
            self._save(record)
        else:
            records.forget(record)

    def _save(self, record: Record) -> None:
        self._fresh.clear()
        self._saved_at = time.monotonic()
        with suppress(StorageError):  # the record before stays, and is nearly as good
            records.save(self._now(record))

    def _now(self, record: Record) -> Record:
        return Record(record.path, record.process, record.place, self._downloads.recorded())

    def _follow(self, ask: Ask) -> None:
        downloads = self._downloads
        with suppress(UnknownModelError, StorageError):  # it has ended meanwhile
            if ask.verb == "priority":
                downloads.set_priority(ask.model, ask.priority)
            else:
                {
                    "pause": downloads.pause,
                    "resume": downloads.resume,
                    "cancel": downloads.cancel,
                    "retry": downloads.retry,
                }[ask.verb](ask.model)
