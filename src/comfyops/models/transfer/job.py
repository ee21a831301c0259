"""One file from its sources to its place: lock, look, resolve, fetch and hash, verify, place."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from comfyops.errors import (
    ComfyOpsError,
    DownloadCancelledError,
    IntegrityError,
    ModelError,
    StorageError,
    UpstreamChangedError,
)
from comfyops.models.transfer import placing
from comfyops.models.transfer.answers import Outcome, joined, shown, untrusted_certificate
from comfyops.models.transfer.hasher import FrontierHash
from comfyops.models.transfer.http import NETWORK_ERRORS, Connections, origin
from comfyops.models.transfer.lanes import Lanes
from comfyops.models.transfer.pacing import Patience, longest_wait, trouble_of, words_of
from comfyops.models.transfer.partial import Partial, Places, places
from comfyops.models.transfer.progress import Meter
from comfyops.models.transfer.ranges import UNBOUNDED, Ranges, total
from comfyops.models.transfer.request import MIB, FileRequest, FileResult, TransferSettings
from comfyops.models.transfer.source import Resolver, Source
from comfyops.models.transfer.verdicts import agreed_size, endless, gave_up, identity, summary
from comfyops.models.transfer.work import Work
from comfyops.support.files import storage_error
from comfyops.support.locks import locked

_HASH_STEP = 32 * MIB  # hashed before the journal is looked at again
_POLL = 0.02
_CLAIM_EVERY = 1.0  # seconds between looks whether the file gets its share of the connections
_MEASURE_EVERY = 0.3  # seconds between looks at the beginning of a file of unknown size


class _RestartError(Exception):
    """What came cannot be continued."""


class _HeldError(Exception):
    """Somebody paused this file."""


class Job:
    """Brings one file; used by one thread, cancelled from any."""

    def __init__(
        self, request: FileRequest, settings: TransferSettings, lanes: Lanes, connections: Connections, meter: Meter
    ) -> None:
        self.request = request
        self.priority = request.priority
        self.meter = meter
        self.cancelled = False
        self.held = False
        self._stopped = threading.Event()
        self.work: Work | None = None
        self._settings = settings
        self._lanes = lanes
        self._connections = connections
        self._resolver = Resolver(settings, connections)
        self._downloaded = 0
        self._whole: set[str] = set()  # addresses whose server turned out to know no ranges
        self._reused = 0
        self._measure_at = 0.0
        self._claim_at = 0.0
        self._promised = request.sha256 is not None

    def cancel(self) -> None:
        """Give it up; what came is kept."""
        self.cancelled = True
        self._stopped.set()
        self._connections.abort()

    def hold(self) -> None:
        """Let go of it for now: a `run` ends without a result."""
        self.held = True
        self._stopped.set()
        self._connections.abort()

    def release(self) -> None:
        """It may be run again."""
        self.held = False
        if not self.cancelled:
            self._stopped.clear()

    def run(self) -> FileResult | None:
        """The file in its place, or why not; None where it was held on the way. Never raises an error of the tree."""
        began = time.monotonic()
        sha256: str | None = None
        error: ComfyOpsError | None = None
        try:
            sha256 = self._bring()
        except ComfyOpsError as problem:
            error = problem
        except _HeldError:
            self.meter.status = "paused"
            return None
        finally:
            self._connections.close()
        if error is not None:
            self.meter.error, self.meter.code = str(error), error.code
        self.meter.status = "completed" if error is None else "failed"
        size = self.request.target.stat().st_size if error is None else self.meter.total
        seconds = time.monotonic() - began
        unproven = error is None and not self._promised
        return FileResult(
            self.request, error is None, sha256, size, seconds, self._downloaded, self._reused, unproven, error
        )

    def _bring(self) -> str:
        target = self.request.target
        self._check_stopped()
        if target.is_dir():
            raise StorageError(f"{target} is a folder; a file is to be placed there.", path=str(target))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, target.parent) from error
        with locked(places(target, "").lock, self._settings.lock_timeout, self._check_stopped):
            if self.request.sha256 and (actual := self._there(self.request.size, self.request.sha256)):
                return actual
            return self._from_any_source()

    def _there(self, size: int | None, sha256: str | None) -> str | None:
        actual = placing.is_good(self.request.target, size, sha256)
        if actual is not None:
            placing.tidy(self.request.target)
            self._reused = self.meter.total = self.request.target.stat().st_size
            self._show_present(self._reused)
        return actual

    def _show_present(self, count: int) -> None:
        self.meter.present = lambda: count

    def _from_any_source(self) -> str:
        """The sources in turn; those that sent wrong bytes, changed in the middle or were troubled once more.

        While others are left, a source in trouble is given up soon; in the last round it gets all patience.
        """
        problems: list[tuple[str, ModelError]] = []
        urls = self.request.urls
        rounds = max(1, self._settings.full_attempts)
        for number in range(rounds):
            again = []
            for url in urls:
                try:
                    return self._from(url, patient=len(self.request.urls) == 1 or number == rounds - 1)
                except DownloadCancelledError:
                    raise
                except ModelError as error:
                    problems.append((shown(url), error))
                    if isinstance(error, IntegrityError) or error.facts.keys() & {"in_the_middle", "again"}:
                        again.append(url)
            urls = tuple(again)
        raise summary(self.request.name, problems)

    def _from(self, url: str, *, patient: bool) -> str:
        changed = False
        for _ in range(self._settings.attempts):
            try:
                return self._once(url, Patience(self._settings.attempts, patient=patient))
            except _RestartError:
                pass
            except UpstreamChangedError as error:
                if "in_the_middle" not in error.facts or url in self._whole:
                    raise
                if changed:  # or each answer has another ETag: then all must come in one
                    self._whole.add(url)
                changed = True
            self._check_stopped()
        raise gave_up(url, "it breaks off again and again, and its server does not let us go on where it broke")

    def _once(self, url: str, patience: Patience) -> str:
        source = self._resolve(url, patience)
        size = agreed_size(self.request, source)
        self.meter.total = size or 0
        sha256 = self.request.sha256 or source.sha256
        self._promised = sha256 is not None
        if actual := self._there(size, sha256):
            return actual
        where = places(self.request.target, identity(sha256, url))
        partial, ranges = self._open(where, source, size, identity(sha256, url))
        work = Work(source, partial, ranges, self.priority, patience)
        work.whole = url in self._whole
        try:
            actual = self._transfer(work, where)
            if not work.proven and sha256 is None:
                least = self._measured(partial.path)
                if least is None:
                    raise endless(url, work.ranges.size)
                if work.ranges.size < least:
                    raise _RestartError
            self._verify(work, sha256, actual)
            placing.place(partial, self.request.target)
        except (UpstreamChangedError, _RestartError):
            if work.whole:  # from the start it asks for all at once, with nobody to take half of it away
                self._whole.add(url)
            partial.discard()  # never continue one version with the bytes of another
            raise
        finally:
            if size is None or (not work.downloaded and not ranges.written()):
                partial.discard()  # without a size nothing of it can be continued, and nothing need not be
            partial.close()
        return actual

    def _measured(self, path: Path) -> int | None:
        return self.request.measure(path) if self.request.measure is not None else None

    def _open(self, where: Places, source: Source, size: int | None, name: str) -> tuple[Partial, Ranges]:
        try:
            partial, written = Partial.open(
                where, name, size or 0, shown(source.url), source.etag, confirmed=source.sha256 is not None
            )
        except OSError as error:
            raise storage_error(error, where.part) from error
        if not self._downloaded:
            self._reused = total(written)
        return partial, Ranges(UNBOUNDED if size is None else size, written)

    def _resolve(self, url: str, patience: Patience) -> Source:
        """Ask the source what it has, with patience. Raises ModelError."""
        host, hosts = origin(url).name, self._lanes.hosts
        if (reason := hosts.dead(host)) is not None:
            raise gave_up(url, reason)
        while True:
            self._wait(hosts.wait(host))
            began = time.monotonic()
            answer = self._ask(url)
            if isinstance(answer, Source):
                return answer
            if answer.error is not None:
                raise answer.error
            reached = hosts.reached(host)
            pause = patience.failed(began, answer.trouble, reached=reached)
            wait = max(pause or 0.0, answer.wait or 0.0)
            if pause is None or wait > longest_wait(self._settings.longest_hold, patient=patience.patient):
                if not reached:
                    hosts.lost(host, answer.reason)
                raise gave_up(url, answer.reason, again=reached and not patience.patient)
            hosts.hold(host, wait)

    def _ask(self, url: str) -> Source | Outcome:
        """Ask the source once. Raises UntrustedSourceError."""
        self._check_stopped()
        try:
            answer = self._resolver.resolve(url)
        except NETWORK_ERRORS as error:
            self._connections.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise untrusted_certificate(url, error) from error
            return Outcome("again", words_of(error), trouble=trouble_of(error))
        self._lanes.hosts.answered(origin(url).name)
        return answer

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            self._check_stopped()

    def _check_stopped(self) -> None:
        if self.cancelled:
            raise DownloadCancelledError(f"The download of {self.request.name} was cancelled.")
        if self.held:
            raise _HeldError

    def _transfer(self, work: Work, where: Places) -> str:
        """Fetch what is missing while hashing what is there; the SHA-256 of all."""
        self.work = work
        before = self._downloaded
        self.meter.present = lambda: work.ranges.size - work.ranges.missing()
        self.meter.network = lambda: before + work.downloaded
        self.meter.status = "downloading"
        self._claim_at = time.monotonic() + _CLAIM_EVERY
        self._lanes.add(work)
        try:
            with FrontierHash(where.part, max(0, self._settings.files - 1)) as hashing:
                while hashing.position < work.ranges.size:
                    self._step(work, hashing)
                self.meter.total = work.ranges.size
                return hashing.hexdigest()
        except (OSError, EOFError) as error:
            raise storage_error(error if isinstance(error, OSError) else OSError(str(error)), where.part) from error
        finally:
            self._lanes.remove(work)
            self._downloaded += work.downloaded
            work.partial.save(work.ranges.written())

    def _step(self, work: Work, hashing: FrontierHash) -> None:
        """A moment of the transfer: hash on, save the journal, look after the source."""
        self._check_stopped()
        work.priority = self.priority
        if not self.meter.total and time.monotonic() > self._measure_at:
            self.meter.total = self._measured(work.partial.path) or 0
            self._measure_at = time.monotonic() + _MEASURE_EVERY
        if time.monotonic() > self._claim_at:
            self._claim_at = time.monotonic() + _CLAIM_EVERY
            self._lanes.claim(work)
        with self._lanes.looking():
            frontier = work.ranges.frontier()
        if hashing.position < frontier:
            hashing.advance(min(frontier, hashing.position + _HASH_STEP))
        else:
            work.moved.wait(_POLL)
            work.moved.clear()
        work.partial.save_when_due(self._written(work))
        if work.verdict is not None:
            self._give_up(work, work.verdict)
        if work.blocked:
            self._find_again(work)

    def _written(self, work: Work) -> Callable[[], list[tuple[int, int]]]:
        def written() -> list[tuple[int, int]]:
            with self._lanes.looking():
                return work.ranges.written()

        return written

    def _find_again(self, work: Work) -> None:
        """The address of the bytes is no longer valid: get a new one. The file must be the same."""
        location = work.moved_to
        if location:
            location = joined(work.location, location)
            self._settings.allow(location)
        else:
            fresh = self._resolve(work.source.url, work.patience)
            if (fresh.size, fresh.sha256) != (work.source.size, work.source.sha256):
                self._give_up(work, Outcome("changed", "its source has another file now"))
            location = fresh.location
        with self._lanes.looking():
            work.locate(location)
        self._lanes.wake()

    def _give_up(self, work: Work, verdict: Outcome) -> NoReturn:
        """End the transfer from this source with the error that its verdict stands for."""
        if verdict.error is not None:
            raise verdict.error
        if verdict.kind == "restart":
            raise _RestartError
        if verdict.kind != "changed":
            raise gave_up(work.source.url, verdict.reason, again=not work.patience.patient)
        raise UpstreamChangedError(
            f"{shown(work.source.url)} changed while it was fetched: {verdict.reason}.", in_the_middle=True
        )

    def _verify(self, work: Work, expected: str | None, actual: str) -> None:
        """Compare with what was promised and look at the content; what is wrong goes to the quarantine."""
        facts = {"url": shown(work.source.url), "size": work.ranges.size, "expected_sha256": expected}
        try:
            if expected not in (None, actual):
                raise IntegrityError(
                    f"{self.request.name} from {shown(work.source.url)} has the SHA-256 {actual[:12]}… "
                    f"instead of {(expected or '')[:12]}….",
                    expected=expected,
                    actual=actual,
                )
            if self.request.check is not None:
                self.request.check(work.partial.path)
        except ModelError as error:
            evidence = {**facts, "actual_sha256": actual, "etag": work.etag, "reason": error.message}
            kept = placing.quarantine(work.partial, self.request.target, evidence)
            error.facts["quarantine"] = None if kept is None else str(kept)
            raise
