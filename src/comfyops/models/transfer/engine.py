"""The doorway of the downloads: `Transfers`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from comfyops.models.transfer.http import Connections, Tls
from comfyops.models.transfer.job import Job
from comfyops.models.transfer.lanes import Lanes
from comfyops.models.transfer.progress import Listener, Meter, Reporter
from comfyops.models.transfer.request import FileRequest, FileResult, TransferSettings
from comfyops.models.transfer.space import too_little
from comfyops.support.threads import Thread


class Transfers:
    """Fetches files: several at once, several ranges of each, resumed, hashed while they come, verified, then placed.

    One object does one `run` at a time; the other methods may be called from any thread meanwhile. `on_ready` is called
    at the beginning of a run, when they know its files.
    """

    def __init__(
        self, settings: TransferSettings | None = None, on_ready: Callable[[Transfers], None] | None = None
    ) -> None:
        self.settings = settings or TransferSettings()
        self._on_ready = on_ready
        self._paused = threading.Event()
        self._jobs: dict[int, Job] = {}
        self._waiting: list[int] = []
        self._ended: set[int] = set()
        self._lock = threading.Condition()
        self._lanes: Lanes | None = None

    def run(self, requests: Sequence[FileRequest], on_progress: Listener | None = None) -> tuple[FileResult, ...]:
        """Fetch, verify and place every file; blocks until each is in its place or has failed.

        A file that is already there with the right hash is not fetched. The results come in the order of the requests
        and carry the errors (`FileResult.error`): DownloadError, IntegrityError, UpstreamChangedError, GatedModelError,
        UntrustedSourceError, DownloadCancelledError, DiskFullError, StorageError. Where the disk has no room for all of
        a plan, nothing of it is begun. `on_progress` is called from one other thread, about five times a second.
        """
        results: dict[int, FileResult] = too_little(requests, self.settings.disk_margin)
        meters = [Meter(request.name, request.size or 0) for request in requests]
        for number, result in results.items():
            meters[number].status, meters[number].error, meters[number].code = "failed", str(result.error), "disk_full"
        tls = Tls(self.settings.ca_file)
        lanes = Lanes(self.settings, tls, self._paused)
        everything = [
            Job(request, self.settings, lanes, Connections(self.settings, tls), meters[number])
            for number, request in enumerate(requests)
        ]
        with self._lock:
            self._lanes = lanes
            self._jobs = {number: job for number, job in enumerate(everything) if number not in results}
            self._waiting = list(self._jobs)
            self._ended = set()
        if self._on_ready is not None:
            self._on_ready(self)
        with Reporter(meters, on_progress, self._paused):
            self._drive(results)
        lanes.close()
        return tuple(results[number] for number in range(len(requests)))

    async def run_async(
        self, requests: Sequence[FileRequest], on_progress: Listener | None = None
    ) -> tuple[FileResult, ...]:
        """`run` in a thread of its own; where the task is cancelled, the downloads are, and what came is kept."""
        import asyncio  # a third of this package's import time, and `run` needs none of it

        task = asyncio.create_task(asyncio.to_thread(self.run, requests, on_progress))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.cancel()
            await task
            raise

    def pause(self, name: str | None = None) -> None:
        """Stop reading; connections are closed, what came is kept. The files of this name, or all.

        A file that is paused by its name leaves its turn to the others; `run` goes on until it is resumed or cancelled.
        """
        if name is None:
            self._paused.set()
            return
        with self._lock:
            for number, job in self._jobs.items():
                if job.request.name == name and number not in self._ended:
                    job.hold()
                    job.meter.status = "paused" if number in self._waiting else job.meter.status

    def resume(self, name: str | None = None) -> None:
        """Go on after `pause`: with the files of this name, or with all."""
        if name is None:
            self._paused.clear()
        with self._lock:
            for number, job in self._jobs.items():
                if name in (None, job.request.name) and job.held:
                    job.release()
                    job.meter.status = "queued" if number in self._waiting else job.meter.status
            self._lock.notify_all()
        if self._lanes is not None:
            self._lanes.wake()

    def cancel(self, name: str | None = None) -> None:
        """Give up the files of this name, or all; what came is kept for the next time."""
        for job in self._named(name):
            job.cancel()
        with self._lock:
            self._lock.notify_all()

    def prioritise(self, name: str, priority: int) -> None:
        """Files of a higher priority begin earlier, and are served first when they run."""
        for job in self._named(name):
            job.priority = priority

    def names(self) -> tuple[str, ...]:
        """The names of the files of this run."""
        with self._lock:
            return tuple(job.request.name for job in self._jobs.values())

    def _named(self, name: str | None) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if name in (None, job.request.name)]

    def _drive(self, results: dict[int, FileResult]) -> None:
        """Run the jobs, a few at a time, the most important first."""
        count = max(1, min(self.settings.files, len(self._jobs)))
        faults: list[BaseException] = []
        threads = [Thread(self._driver, results, faults, name=f"file-{number}") for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # Ctrl-C: the journals are saved before the process ends
            self.cancel()
            for thread in threads:
                thread.join()
            raise
        if faults:
            raise faults[0]

    def _driver(self, results: dict[int, FileResult], faults: list[BaseException]) -> None:
        try:
            while (number := self._next()) is not None:
                self._keep(number, self._jobs[number].run(), results)
        except BaseException as fault:  # noqa: BLE001  a fault of ours, raised again by the caller's thread
            faults.append(fault)
            self.cancel()

    def _keep(self, number: int, result: FileResult | None, results: dict[int, FileResult]) -> None:
        with self._lock:
            if result is None:
                self._waiting.append(number)
            else:
                results[number] = result
                self._ended.add(number)
            self._lock.notify_all()

    def _next(self) -> int | None:
        """The most important file that waits; waits while all of them are paused. None where none is left."""
        with self._lock:
            while self._waiting:
                free = [
                    number for number in self._waiting if self._jobs[number].cancelled or not self._jobs[number].held
                ]
                if free:
                    number = max(free, key=lambda waiting: (self._jobs[waiting].priority, -waiting))
                    self._waiting.remove(number)
                    return number
                self._lock.wait()
            return None
