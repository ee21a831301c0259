"""One job, and one batch of jobs, of a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comfyops.client import saving
from comfyops.client.events import Follower
from comfyops.client.http import GatewayHttp
from comfyops.client.saving import SavedFile
from comfyops.client.values import Batch, Event, Explanation, Job, JobOutput, LogEntry, WorkflowAnswer, items, pick
from comfyops.errors import RunFailedError, RunInterruptedError, WaitTimeoutError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between looks at a batch


class JobHandle:
    """One job. `last` is what was known of it at the last look, None before the first; `replayed` = its submission
    was an earlier one's, found by its key.

    Methods raise UnknownJobError, LoginRequiredError and UnreachableError, beside what their own text names.
    """

    def __init__(self, http: GatewayHttp, job_id: str, last: Job | None = None, *, replayed: bool = False) -> None:
        self.id = job_id
        self.last = last
        self.replayed = replayed
        self._http = http
        self._route = f"/api/v2/jobs/{quote(job_id, safe='')}"

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r}, {self.last.status if self.last else 'not looked at'!r})"

    async def look(self) -> Job:
        """The job as it stands."""
        return self._note(await self._http.ask("GET", self._route))

    async def wait(self, timeout: float | None = None) -> Job:
        """The job once it is over, however it ended. Raises WaitTimeoutError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                async for _ in self.events():
                    pass
                return await self.look()
        except TimeoutError as error:
            words = f"The job {self.id} takes longer than {timeout:g} s."
            raise WaitTimeoutError(words, job=self.id) from error

    async def events(self) -> AsyncIterator[Event]:
        """What happens to it, from now to its end, whatever happens to the connection; outputs come once each."""
        async for event in Follower(self._http, self.id, self.look).events():
            yield event

    async def cancel(self, timeout: float | None = 60.0) -> Job:
        """Stop it in any state and wait until its run has stopped; a job that is over stays as it is.

        Raises WaitTimeoutError.
        """
        job = self._note(await self._http.ask("POST", f"{self._route}/cancel", again=True))
        return job if job.over else await self.wait(timeout)

    async def retry(self) -> Job:
        """Have it run again after it failed, was canceled or expired. Raises JobStateError."""
        return self._note(await self._http.ask("POST", f"{self._route}/retry"))

    async def set_priority(self, priority: int) -> Job:
        """Have it go before others, as long as it waits; a smaller number goes first. Raises JobStateError."""
        return self._note(
            await self._http.ask("POST", f"{self._route}/priority", json={"priority": priority}, again=True)
        )

    async def explain(self) -> Explanation:
        """Why it is where it is."""
        return Explanation.of(await self._http.ask("GET", f"{self._route}/explain"))

    async def log(self) -> tuple[LogEntry, ...]:
        """What happened to it so far."""
        found = await self._http.ask("GET", f"{self._route}/log")
        return tuple(pick(LogEntry, entry) for entry in items(found, "entries"))

    async def workflow(self) -> dict[str, Any]:
        """Its graph, in API format."""
        return pick(WorkflowAnswer, await self._http.ask("GET", f"{self._route}/workflow")).workflow

    async def outputs(self) -> tuple[JobOutput, ...]:
        """What it has made so far."""
        return (await self.look()).outputs

    async def download(self, folder: Path | str) -> tuple[SavedFile, ...]:
        """Fetch what it has made so far into a folder; what was fetched in part before is gone on with.

        Raises UnsafeNameError, OutputGoneError, IntegrityError, StorageError.
        """
        return await saving.save(self._http, await self.outputs(), Path(folder))

    async def delete(self) -> None:
        """Forget it, with its outputs, once it is over. Raises JobStateError."""
        await self._http.ask("DELETE", self._route)

    def output(self, index: int = 0, *, node: str | None = None) -> dict[str, Any]:
        """What stands for one of its outputs as a value of another job, which then waits for this one."""
        which: dict[str, Any] = {"index": index} if node is None else {"node": node}
        return {"$output": {"job": self.id, **which}}

    def _note(self, data: Any) -> Job:
        self.last = Job.of(data)
        return self.last


class BatchHandle:
    """Many jobs that were accepted as one."""

    def __init__(self, http: GatewayHttp, batch: Batch) -> None:
        self.id = batch.id
        self.last = batch
        self._http = http

    @property
    def jobs(self) -> tuple[JobHandle, ...]:
        """Its jobs, in their order."""
        return tuple(JobHandle(self._http, job_id) for job_id in self.last.job_ids)

    async def look(self) -> Batch:
        """The batch as it stands."""
        self.last = Batch.of(await self._http.ask("GET", f"/api/v2/batches/{quote(self.id, safe='')}"))
        return self.last

    async def wait(self, timeout: float | None = None) -> Batch:
        """The batch once all its jobs are over. Raises WaitTimeoutError after `timeout` seconds."""
        pause = _FIRST_PAUSE
        try:
            async with asyncio.timeout(timeout):
                while not (found := await self.look()).done:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, _LONGEST_PAUSE)
                return found
        except TimeoutError as error:
            raise WaitTimeoutError(f"The batch {self.id} takes longer than {timeout:g} s.", batch=self.id) from error


def raise_unless_succeeded(job: Job, **facts: Any) -> None:
    """Raise RunFailedError or RunInterruptedError for a job that ended otherwise than well."""
    facts |= {"job": job.id, "status": job.status}
    if job.status == "succeeded":
        return
    if job.status == "canceled":
        raise RunInterruptedError(
            f"The job {job.id} was canceled.", hint="Run it again: `comfyops jobs retry ID`.", **facts
        )
    if job.error is None:
        raise RunFailedError(f"The job {job.id} {job.status}.", **facts)
    problem = job.error
    where = f"Node {problem.node_id} ({problem.class_type}) failed: " if problem.node_id else ""
    raise RunFailedError(f"{where}{problem.message.rstrip('.')}.", node=problem.node_id, reason=problem.code, **facts)
