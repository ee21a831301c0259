"""When to try again, how long a server wants to be left alone, and how fast we may read."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 8.0


def delay(failures: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many failures in a row: 0.2, 0.4 ... 8, each between half and whole."""
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (failures - 1))
    return longest * (0.5 + jitter() / 2)


def retry_after(value: str | None, answered_at: str | None, now: float | None = None) -> float | None:
    """Seconds from the header Retry-After: a number, or a date, measured from the answer's own Date where it has one.

    `now` is the time (Unix seconds) where it has none. None where the header is missing or makes no sense.
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    until, then = _date(value), _date(answered_at)
    if until is None:
        return None
    return max(0.0, until - (then if then is not None else time.time() if now is None else now))


def _date(text: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Patience:
    """Failures in a row of one source. Failures of connections that began before the last one counted are one event."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        self.failures = 0
        self._last = float("-inf")
        self._lock = threading.Lock()

    def progressed(self) -> None:
        """Bytes came: all is forgiven."""
        self.failures = 0

    def failed(self, began: float) -> float | None:
        """Count a failure of what began then (monotonic); seconds to wait before the next, None where it is enough."""
        with self._lock:
            if began >= self._last:
                self.failures += 1
                self._last = time.monotonic()
            return None if self.failures > self.attempts else delay(max(1, self.failures))


class Hosts:
    """Per host: until when it is left alone, and how many connections it puts up with."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._until: dict[str, float] = {}
        self._limits: dict[str, float] = {}

    def hold(self, host: str, seconds: float) -> None:
        """Nothing is asked of the host for so long."""
        self._until[host] = max(self._until.get(host, 0.0), time.monotonic() + seconds)

    def busy(self, host: str, seconds: float) -> None:
        """It said that we ask too much: a pause, and half as many connections afterwards."""
        if self.wait(host) <= 0:
            self._limits[host] = max(1.0, self.limit(host) / 2)
        self.hold(host, seconds)

    def served(self, host: str) -> None:
        """It answered well: a quarter of a connection more, up to all."""
        if host in self._limits:
            self._limits[host] = min(float(self._connections), self._limits[host] + 0.25)

    def wait(self, host: str) -> float:
        """Seconds for which it is still left alone."""
        return max(0.0, self._until.get(host, 0.0) - time.monotonic())

    def limit(self, host: str) -> int:
        """Connections that it puts up with."""
        return int(self._limits.get(host, float(self._connections)))


class RateLimit:
    """A bandwidth cap over all threads: `spend` waits until the bytes are within it."""

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._paid_until = 0.0
        self._lock = threading.Lock()

    @property
    def block(self) -> int | None:
        """The most bytes to read at once, so that the stream is even; None for no cap."""
        return None if self.rate is None else max(4096, self.rate // 20)

    def spend(self, count: int) -> float:
        """Seconds to wait after `count` bytes were read."""
        if self.rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._paid_until = max(self._paid_until, now - 0.05) + count / self.rate
            return max(0.0, self._paid_until - now)
