"""When to try again, how long a server wants to be left alone, and how fast we may read."""

from __future__ import annotations

import errno
import random
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 8.0
_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})
_DEAD_FOR = 10.0  # seconds for which a host that nobody could reach is not tried by other files
_IMPATIENT = 2  # failures in a row of a source that answers, while others are left to try
_GONE = 4  # failures in a row where nobody is there any more, while others are left to try
_DAY = 86_400.0  # seconds
_BRIEFLY = 2.0  # seconds that are waited for a busy source, while others are left to try

ENOUGH = 64 * 1024
"""Bytes that make up for the failures before them; fewer may be all that a server ever gives."""


class ConnectTimeoutError(TimeoutError):
    """No connection came about in time."""


class Trouble(StrEnum):
    """How an attempt broke before an answer came."""

    NOBODY = "nobody"
    """The connection was refused, there is no way to the host, or its name does not resolve."""
    SILENT = "silent"
    """No connection within the timeout."""
    BROKEN = "broken"
    """It was connected, and broke."""


def trouble_of(error: BaseException) -> Trouble:
    """What kind of trouble an error of the network is."""
    if isinstance(error, ConnectTimeoutError):
        return Trouble.SILENT
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno in _NO_WAY):
        return Trouble.NOBODY
    return Trouble.BROKEN


def words_of(error: BaseException) -> str:
    """An error of the network in one line. What a strange server sent may be part of it: nothing unprintable stays."""
    text = " ".join(str(error).split())[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in text) or type(error).__name__


def tries(trouble: Trouble | None, attempts: int, *, reached: bool, patient: bool) -> int:
    """How many failures in a row of a source are put up with, before it is given up for now.

    `trouble` is None where the server answered, badly. A host that was never `reached` (no answer of it was ever seen)
    is given up soon, so that mirrors get their turn and being offline is told in a few seconds; one that answered
    before gets all `attempts`, unless the caller is not `patient` because other sources are left to try first.
    """
    if reached:
        return attempts if patient else min(attempts, _IMPATIENT)
    if trouble is Trouble.SILENT or not patient:
        return 0
    return min(attempts, 2 if trouble is Trouble.NOBODY else 3)


def longest_wait(longest_hold: float, *, patient: bool) -> float:
    """Seconds of Retry-After that are waited for."""
    return longest_hold if patient else min(longest_hold, _BRIEFLY)


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


def span(seconds: float) -> str:
    """A time to wait, for people."""
    return f"{seconds:.0f} s" if seconds < _DAY else "more than a day"


def _date(text: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Patience:
    """Failures in a row of one source. Failures of connections that began before the last one counted are one event.

    It is `patient` where no other source is left to try, or bytes have come.
    """

    def __init__(self, attempts: int, *, patient: bool = True) -> None:
        self.attempts = attempts
        self.patient = patient
        self._last_hope = patient
        self.failures = 0
        self._came = 0
        self._last = float("-inf")
        self._lock = threading.Lock()

    def progressed(self, count: int) -> None:
        """So many bytes came: once they are enough, all is forgiven."""
        self._came += count
        if self._came >= ENOUGH:
            self.failures = self._came = 0
            self.patient = True

    def failed(self, began: float, trouble: Trouble | None = None, *, reached: bool = True) -> float | None:
        """Count a failure of what began then (monotonic); seconds to wait before the next, None where it is enough.

        `trouble` and `reached` are those of `tries`.
        """
        with self._lock:
            if began >= self._last:
                self.failures += 1
                self._last = time.monotonic()
            most = tries(trouble, self.attempts, reached=reached, patient=self.patient)
            if trouble is Trouble.NOBODY and not self._last_hope:
                most = min(most, _GONE)  # it went away, and others have the file too
            return None if self.failures > most else delay(max(1, self.failures))


class Hosts:
    """Per host: whether it was ever reached, until when it is left alone, how many connections it puts up with."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._until: dict[str, float] = {}
        self._limits: dict[str, float] = {}
        self._answered: set[str] = set()
        self._dead: dict[str, tuple[float, str]] = {}

    def answered(self, host: str) -> None:
        """It gave an answer, whatever answer."""
        self._answered.add(host)

    def reached(self, host: str) -> bool:
        """Whether it ever gave an answer."""
        return host in self._answered

    def lost(self, host: str, reason: str) -> None:
        """It could not be reached at all; other files need not find that out for themselves."""
        self._dead[host] = (time.monotonic() + _DEAD_FOR, reason)

    def dead(self, host: str) -> str | None:
        """Why it cannot be reached, where that was found out a moment ago; else None."""
        until, reason = self._dead.get(host, (0.0, ""))
        return reason if not self.reached(host) and time.monotonic() < until else None

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
