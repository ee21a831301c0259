"""One file being fetched, as the threads see it."""

from __future__ import annotations

import threading
import time
from itertools import count

from comfyops.models.transfer.answers import Outcome, same_etag
from comfyops.models.transfer.http import Connection, origin
from comfyops.models.transfer.pacing import Patience
from comfyops.models.transfer.partial import Partial
from comfyops.models.transfer.ranges import SHORTEST, UNBOUNDED, Ranges
from comfyops.models.transfer.source import Source

_ORDER = count()


class Work:
    """What the threads share about one file: guarded by the lock of `Lanes`, except for counters and events.

    `blocked`   its address is no longer valid; `locate` gives a new one
    `whole`     its server ignores ranges: one connection, from the start
    `lies`      answers whose range made no sense
    `proven`    its end is known: the server said how long it is, or that this was all
    `verdict`   why it cannot go on, None while it can
    """

    def __init__(self, source: Source, partial: Partial, ranges: Ranges, priority: int, patience: Patience) -> None:
        self.source = source
        self.partial = partial
        self.ranges = ranges
        self.priority = priority
        self.patience = patience
        self.order = next(_ORDER)
        self.connections = 0
        self.blocked = False
        self.whole = ranges.size == UNBOUNDED
        self.proven = not self.whole
        self.lies = 0
        self.moved_to = ""
        self.verdict: Outcome | None = None
        self.segment_length = SHORTEST
        self.downloaded = 0
        self.active: set[Connection] = set()
        self.etag = partial.etag
        self.stop = threading.Event()
        self.moved = threading.Event()
        self.rates: dict[int, float] = {}
        self._etag_lock = threading.Lock()
        self.locate(source.location)

    def locate(self, location: str) -> None:
        """The bytes are at this address from now on."""
        if self.source.sha256:
            self.forget_etag()  # the hub vouches for the bytes, and another store of it has ETags of its own
        self.location = location
        self.host = origin(location).name
        self.located_at = time.monotonic()
        self.moved_to = ""
        self.blocked = False

    def abort(self) -> None:
        """Wake the threads that wait for bytes: their connections end now."""
        for connection in tuple(self.active):
            connection.abort()

    def end(self, outcome: Outcome) -> None:
        """It cannot go on from this source."""
        self.verdict = self.verdict or outcome
        self.blocked = True
        self.stop.set()

    def same_etag(self, etag: str | None) -> bool:
        """Whether an answer is of the file that was begun; the first answer's ETag is remembered."""
        if etag is None:
            return True
        with self._etag_lock:
            if self.etag is None:
                self.etag = etag
                self.partial.learn_etag(etag)
            return same_etag(self.etag, etag)

    def forget_etag(self) -> None:
        """What comes from now on may carry another: nothing of the old bytes is used, or a hash vouches for both."""
        with self._etag_lock:
            self.etag = None
