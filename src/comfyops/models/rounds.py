"""The health of models, watched: every byte read anew in rounds, slowly; what changes is logged and told to a webhook.

A round reads one model after another, no faster than it is told, so that the disk stays free for others. It can be
ended at any time: the next one goes on with the models that were not read yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from comfyops.errors import StoppedError, StorageError
from comfyops.models import health, health_record
from comfyops.models.catalog import Wanted
from comfyops.models.check import Finding
from comfyops.models.health_record import Change, HealthRecord, Waiting
from comfyops.models.provision import Provision
from comfyops.support import webhooks
from comfyops.support.schedules import Schedule
from comfyops.support.webhooks import Message, Receiver

_log = logging.getLogger("comfyops.health")

RATE = 100 * 1024 * 1024
"""Bytes per second that a round reads at most, unless told otherwise."""

_PIECE = 1 << 20
_NEVER = 86_400.0  # seconds between two looks at the clock, which may be set


@dataclass(frozen=True)
class Health:
    """One models folder that is watched. `record` is the file of what is remembered, `figures` that for Prometheus."""

    provision: Provision
    wanted: Sequence[Wanted]
    record: Path
    figures: Path | None = None
    receiver: Receiver | None = None
    rate: int = RATE
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def load(self) -> HealthRecord:
        """What is remembered."""
        return health_record.load(self.record, self.provision.storage.root)

    def look(self, *, deep: bool = False) -> tuple[Finding, ...]:
        """Look at all models at once, and tell what has changed. Raises StorageError."""
        findings = self.provision.check(self.wanted, deep=deep)
        self._seen(findings, lambda known: replace(known, finished=self.clock()) if deep else known)
        self._write(findings)
        return findings

    def round(self) -> tuple[Finding, ...]:
        """Read every model, one after another, and tell what has changed as it is found.

        Raises StoppedError where `stop` was set meanwhile, StorageError.
        """
        names = [item.entry.id for item in self.wanted]
        known = self.update(lambda known: replace(known.only(names), began=known.began or self.clock()))
        for item in self.wanted:
            before = known.models.get(item.entry.id)
            if before is None or before.checked < (known.began or 0.0):
                self._read(item)
                self._seen(self.provision.check([item]))
        findings = self.provision.check(self.wanted)
        self._seen(findings, lambda known: replace(known, began=None, finished=self.clock()))
        self._write(findings)
        return findings

    def update(self, change: Callable[[HealthRecord], HealthRecord]) -> HealthRecord:
        """Change what is remembered; threads take turns. Raises StorageError."""
        with self._lock:
            known = change(self.load())
            health_record.save(known, self.record)
        return known

    def _read(self, item: Wanted) -> None:
        """Hash the model's file, slowly; `check` compares what is remembered then."""
        (found,) = self.provision.check([item])
        if not found.good and found.state.value not in ("changed", "corrupt"):
            return
        path = Path(found.path)
        try:
            digest, before = self._hashed(path)
        except OSError:
            return  # `check` says why
        self.provision.stamps.remember(path, before, digest)

    def _hashed(self, path: Path) -> tuple[str, os.stat_result]:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE))
        began, size = time.monotonic(), 0
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                size += count
                ahead = size / self.rate - (time.monotonic() - began)
                if self.stop.wait(max(0.0, ahead)):
                    raise StoppedError("The round was ended.")
        return digest.hexdigest(), before

    def _seen(
        self, findings: Sequence[Finding], also: Callable[[HealthRecord], HealthRecord] = lambda known: known
    ) -> None:
        """Keep what was found, log what has changed, and leave messages about it to be delivered."""
        changes: list[Change] = []

        def noted(known: HealthRecord) -> HealthRecord:
            known, found = known.seen(findings, self.clock())
            changes.extend(found)
            made = [_message(change, self.provision.storage.root) for change in found if self.receiver is not None]
            return also(replace(known, waiting=(*known.waiting, *(Waiting(item.id, item.body) for item in made))))

        self.update(noted)
        for change in changes:
            extra = {"file": change.model, "state": change.state, "change": change.kind, "path": change.path}
            # also what is mended is worth a line that shows without being asked for
            _log.log(logging.ERROR if change.kind == "corrupt" else logging.WARNING, "%s", change.words, extra=extra)

    def _write(self, findings: Sequence[Finding]) -> None:
        if self.figures is not None:
            health.write(findings, self.figures, self.clock(), self.load().finished)


async def deliver(watched: Health) -> float | None:
    """Send the messages that are due; gives when the next one is (seconds since 1970), None where none waits.

    Raises MissingExtraError, StorageError.
    """
    if watched.receiver is None:
        return None
    for item in watched.load().waiting:
        if item.due > watched.clock():
            continue
        delivery = await webhooks.post(watched.receiver, Message(item.id, item.body))
        after = webhooks.retry(delivery, item.attempts + 1)
        if after.after is None and not delivery.ok:
            _log.error("a message to the webhook is given up: %s", after.why)
        elif not delivery.ok:
            _log.warning("the webhook did not take a message: %s", after.why)
        due = None if after.after is None else watched.clock() + after.after
        watched.update(lambda known, item=item, due=due: _tried(known, item, due))  # type: ignore[misc]
    return min((item.due for item in watched.load().waiting), default=None)


async def watch(watched: Health, schedule: Schedule) -> None:
    """Rounds when they are due, until cancelled; the first at once where none was ever finished, or one was missed.

    Raises StorageError, MissingExtraError.
    """
    while True:
        message_due = await deliver(watched)
        due = next_round(watched.load(), schedule)
        now = watched.clock()
        if due <= now:
            await _round(watched)
            continue
        await asyncio.sleep(min(_NEVER, due - now, *([max(0.0, message_due - now)] if message_due else [])))


def next_round(known: HealthRecord, schedule: Schedule) -> float:
    """When the next round is due: now (0) for one that was not ended and where there was none."""
    if known.finished is None or known.began is not None:
        return 0.0
    return schedule.next_after(datetime.fromtimestamp(known.finished)).timestamp()


async def _round(watched: Health) -> None:
    """One round in a thread; messages go out meanwhile. What stops us stops it."""
    work = asyncio.ensure_future(asyncio.to_thread(watched.round))
    try:
        while not work.done():
            await deliver(watched)
            await asyncio.wait((work,), timeout=1.0)
        work.result()
    except asyncio.CancelledError:
        watched.stop.set()
        await asyncio.wait((work,))
        raise
    except StorageError as error:
        _log.error("the round was not ended: %s", error.message)
        raise


def _tried(known: HealthRecord, item: Waiting, due: float | None) -> HealthRecord:
    """The record after an attempt; `due` is that of the next one, None where there is none."""
    again = () if due is None else (replace(item, attempts=item.attempts + 1, due=due),)
    return replace(known, waiting=(*(old for old in known.waiting if old.id != item.id), *again))


def _message(change: Change, root: Path) -> Message:
    data = {"model": change.model, "state": change.state, "path": change.path, "why": change.why, "root": str(root)}
    return Message.new(f"model.{change.kind}", data)
