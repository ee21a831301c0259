"""The doorway of the downloads: `Transfers`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from comfyops.models.transfer.http import Connections, Tls
from comfyops.models.transfer.job import Job
from comfyops.models.transfer.lanes import Lanes
from comfyops.models.transfer.progress import Listener, Meter, Reporter
from comfyops.models.transfer.request import FileRequest, FileResult, TransferSettings
from comfyops.models.transfer.space import too_little


class Transfers:
    """Fetches files: several at once, several ranges of each, resumed, hashed while they come, verified, then placed.

    One object does one `run` at a time; the other methods may be called from any thread meanwhile.
    """

    def __init__(self, settings: TransferSettings | None = None) -> None:
        self.settings = settings or TransferSettings()
        self._paused = threading.Event()
        self._jobs: dict[int, Job] = {}
        self._waiting: list[int] = []
        self._lock = threading.Lock()
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
            meters[number].status, meters[number].error = "failed", str(result.error)
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

    def pause(self) -> None:
        """Stop reading; connections are closed, what came is kept."""
        self._paused.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused.clear()
        if self._lanes is not None:
            self._lanes.wake()

    def cancel(self, name: str | None = None) -> None:
        """Give up the files of this name, or all; what came is kept for the next time."""
        for job in self._named(name):
            job.cancelled.set()

    def prioritise(self, name: str, priority: int) -> None:
        """Files of a higher priority begin earlier, and are served first when they run."""
        for job in self._named(name):
            job.priority = priority

    def _named(self, name: str | None) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if name in (None, job.request.name)]

    def _drive(self, results: dict[int, FileResult]) -> None:
        """Run the jobs, a few at a time, the most important first."""
        count = max(1, min(self.settings.files, len(self._jobs)))
        faults: list[BaseException] = []
        threads = [
            threading.Thread(target=self._driver, args=(results, faults), name=f"file-{number}", daemon=True)
            for number in range(count)
        ]
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
                results[number] = self._jobs[number].run()
        except BaseException as fault:  # noqa: BLE001  a fault of ours, raised again by the caller's thread
            faults.append(fault)
            self.cancel()

    def _next(self) -> int | None:
        with self._lock:
            if not self._waiting:
                return None
            number = max(self._waiting, key=lambda waiting: (self._jobs[waiting].priority, -waiting))
            self._waiting.remove(number)
            return number
