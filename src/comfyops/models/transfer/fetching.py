"""One segment over one connection: ask, judge the answer, write what comes."""

from __future__ import annotations

import ssl
import threading
import time
from statistics import median

from comfyops.models.transfer.answers import Answer, Outcome, judge, untrusted_certificate
from comfyops.models.transfer.http import NETWORK_ERRORS, Connection, Connections, origin
from comfyops.models.transfer.pacing import ConnectTimeoutError, RateLimit, Trouble, trouble_of, words_of
from comfyops.models.transfer.ranges import Range, Segment, segment_length
from comfyops.models.transfer.request import MIB, TransferSettings
from comfyops.models.transfer.source import authorization
from comfyops.models.transfer.work import Work
from comfyops.support.files import storage_error

_BUFFER = MIB
_BUFFERS = 16 * MIB  # of all connections together
_SLOW_AFTER = 10.0  # seconds after which a connection is compared with the others
_SLOW = 0.1  # of the median rate


class Fetcher:
    """Fetches segments, one after the other, for one thread."""

    def __init__(
        self, settings: TransferSettings, connections: Connections, rate: RateLimit, paused: threading.Event
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._rate = rate
        self._paused = paused
        size = min(_BUFFER, _BUFFERS // settings.connections, rate.block or _BUFFER)
        self._view = memoryview(bytearray(size))

    def fetch(self, work: Work, segment: Segment) -> Outcome:
        """Fetch what is missing of the segment; never raises."""
        location = work.location
        connection = self._connections.to(location)
        work.active.add(connection)
        try:
            return self._fetch(work, segment, connection, location)
        except ConnectTimeoutError as error:
            return Outcome("again", str(error), trouble=Trouble.SILENT)
        except TimeoutError:
            connection.close()
            reason = f"nothing came for {self._settings.stall_timeout:g} s"
            return Outcome("again", reason, trouble=Trouble.BROKEN)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            return Outcome("refused", error=untrusted_certificate(location, error))
        except NETWORK_ERRORS as error:
            connection.close()
            reason = f"the connection broke ({words_of(error)})"
            return Outcome("again", reason, trouble=trouble_of(error))
        finally:
            work.active.discard(connection)

    def _fetch(self, work: Work, segment: Segment, connection: Connection, location: str) -> Outcome:
        asked = (segment.position, segment.end)
        began = time.monotonic()
        if work.whole and not asked[0]:
            work.forget_etag()  # all comes in one answer: there is nothing to mix it with
        answer = connection.ask("GET", location, self._headers(work, location, asked))
        latency = time.monotonic() - began
        if not work.proven and answer.status == 200 and answer.length is not None:
            self._ends(work, answer.length, proven=True)
            asked = (asked[0], min(asked[1], answer.length))
        outcome = judge(answer, asked, work.ranges.size, work.etag)
        if outcome is None and not work.same_etag(answer.etag):
            outcome = Outcome("changed", "its ETag is another one now")
        if outcome is not None and outcome.kind == "changed" and location != work.location:
            outcome = Outcome("again", "its bytes are elsewhere now")
        if outcome is not None and outcome.kind == "whole" and work.whole:
            outcome = None if self._may_skip(work, answer) else Outcome("restart", "it cannot be continued")
        if outcome is not None:
            connection.close()
            return outcome
        outcome = self._pour(work, segment, connection, 0 if answer.status == 206 else asked[0])
        connection.finish()
        self._learn(work, segment.position - asked[0], latency, time.monotonic() - began)
        return outcome

    def _headers(self, work: Work, location: str, asked: Range) -> dict[str, str]:
        same = origin(location) == origin(work.source.url)
        headers = authorization(self._settings, location) if same else {}
        if not work.whole:
            headers["Range"] = f"bytes={asked[0]}-{asked[1] - 1}"
            if work.etag and work.etag.startswith('"'):
                headers["If-Range"] = work.etag
        return headers

    def _may_skip(self, work: Work, answer: Answer) -> bool:
        """Whether a whole file can continue what is there: the start is skipped, so it must be the same file."""
        return bool(work.source.sha256) or (answer.etag is not None and work.same_etag(answer.etag))

    def _pour(self, work: Work, segment: Segment, connection: Connection, skip: int) -> Outcome:
        """Read the body into the file; the first `skip` bytes of it are there already."""
        began, first = time.monotonic(), segment.position
        while (missing := segment.missing) and not (work.stop.is_set() or self._paused.is_set()):
            got = connection.read(self._view[: min(len(self._view), skip or missing)])
            if not got and not work.proven:
                self._ends(work, segment.position, proven=connection.ends_itself)
                return Outcome("done")
            if not got:
                return Outcome("again", "the connection was closed early")
            work.downloaded += got
            if skip:
                skip -= got
            elif (trouble := self._write(work, segment, got)) is not None:
                return trouble
            if self._wait_for_rate(work, got) or self._too_slow(work, began, segment.position - first):
                return Outcome("done", "too slow")
        return Outcome("done")

    def _ends(self, work: Work, size: int, *, proven: bool) -> None:
        work.proven = proven
        work.ranges.end_at(size)

    def _write(self, work: Work, segment: Segment, count: int) -> Outcome | None:
        try:
            work.partial.write(segment.position, self._view[:count])
        except OSError as error:
            return Outcome("refused", error=storage_error(error, work.partial.path))
        segment.position += count
        work.patience.progressed(count)
        return None

    def _wait_for_rate(self, work: Work, count: int) -> bool:
        """Keep to the bandwidth cap; true where the file was stopped meanwhile."""
        pause = self._rate.spend(count)
        return work.stop.wait(pause) if pause else False

    def _too_slow(self, work: Work, began: float, count: int) -> bool:
        """Whether this connection is far slower than the file's others: another one may do better."""
        seconds = time.monotonic() - began
        if seconds < _SLOW_AFTER or self._rate.rate is not None:
            return False
        rate = work.rates[threading.get_ident()] = count / seconds
        others = list(work.rates.values())
        return len(others) > 2 and rate < _SLOW * median(others)

    def _learn(self, work: Work, count: int, latency: float, seconds: float) -> None:
        if seconds > latency and count:
            rate = work.rates[threading.get_ident()] = count / (seconds - latency)
            work.segment_length = segment_length(latency, rate)
