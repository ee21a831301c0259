"""Writes records without making anybody wait: a thread takes what has gathered and appends it at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from comfyops.auth.audit_store import AuditStore
from comfyops.auth.chain import Event
from comfyops.auth.principal import Principal
from comfyops.auth.redaction import is_plain, redact, redacted
from comfyops.errors import StorageError

_log = logging.getLogger(__name__)

_BATCH = 500  # records in one transaction
_MOST_WAITING = 20_000  # records; with more the disk is not keeping up
_RETRY = 0.5  # seconds, where the file cannot be written
_GATHER = 0.05  # seconds for more records to join the first one: one transaction for many, and few turns of threads
_LONGEST = 500  # characters of a text

_Item = Event | threading.Event | None


class AuditLog:
    """Records who did what. `record` costs microseconds; `flush` and `close` wait until all is on disk.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, store: AuditStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._wanted = threading.Event()  # somebody waits for what is there to be written
        self._closed = False
        self._failing = False
        self._writer = threading.Thread(target=self._write, name="audit", daemon=True)
        self._writer.start()

    def record(
        self,
        action: str,
        principal: Principal | None = None,
        *,
        address: str = "",
        target: str = "",
        allowed: bool = True,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        actor: str = "",
    ) -> None:
        """Write down what somebody did or was refused. Secrets in any text are replaced by stars.

        `actor` names who acts where there is no principal. Raises StorageError where records can no longer be kept:
        what cannot be recorded is not to be done.
        """
        if self._closed or self._waiting.qsize() > _MOST_WAITING:
            raise StorageError("The record of who did what cannot be written.", hint="See to the disk that it is on.")
        who = (principal.id, principal.name, principal.token_id) if principal else (actor, actor, "")
        texts = _texts(action, *who, address, target, reason)
        action, actor, name, token_id, address, target, reason = texts
        at = round(self._clock(), 3)
        clean = redacted(dict(details)) if details else {}
        self._waiting.put(Event(action, at, actor, name, token_id, address, target, allowed, reason, clean))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until what was recorded so far is on disk; whether it is, after at most so many seconds."""
        written = threading.Event()
        self._waiting.put(written)
        self._wanted.set()
        return written.wait(timeout)

    def close(self) -> None:
        """Write what waits, then end. Raises StorageError where not all of it could be written."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._wanted.set()
        self._writer.join(timeout=10.0)
        if self._writer.is_alive():
            raise StorageError("Not all records of who did what could be written.")

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write(self) -> None:
        while True:
            items = self._gathered()
            self._append([item for item in items if isinstance(item, Event)])
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if None in items:
                return

    def _gathered(self) -> list[_Item]:
        items = [self._waiting.get()]
        if isinstance(items[0], Event) and self._waiting.qsize() < _BATCH:
            self._wanted.wait(_GATHER)
        self._wanted.clear()
        while len(items) < _BATCH and items[-1] is not None and not self._waiting.empty():
            items.append(self._waiting.get())
        return items

    def _append(self, events: list[Event]) -> None:
        while events:
            try:
                self._store.append(events)
                self._failing = False
                return
            except StorageError as error:
                if not self._failing:
                    _log.error("records of who did what wait for the disk: %s", error)
                self._failing = True
                time.sleep(_RETRY)


def _texts(*given: str) -> tuple[str, ...]:
    """Texts without secrets, of bounded length, that a file can hold."""
    if is_plain("\n".join(given)):
        return tuple(_storable(text) for text in given)
    return tuple(_storable(redact(text)) for text in given)


def _storable(text: str) -> str:
    return (text if text.isascii() else text.encode("utf-8", "backslashreplace").decode())[:_LONGEST]
