"""The durable queue: everything that may be done with jobs, whoever asks. The one doorway for API, gateway and CLI.

A job that `submit` accepted is in the database, on disk, before `submit` returns; from then on it finishes exactly once
in effect, whatever dies. Dispatchers (`dispatcher`) carry jobs out, in this process or in others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from comfyops.jobs.fleet import BackendRow, Fleet
from comfyops.jobs.job import (
    Accepted,
    Attempt,
    Explanation,
    Filter,
    Job,
    JobEvent,
    JobOutput,
    Page,
    Submission,
)
from comfyops.jobs.quotas import Quota, Quotas
from comfyops.jobs.schedules import Schedule, Schedules
from comfyops.jobs.store import Store


class Queue:
    """Jobs of all owners. Open it with `await Queue.open(...)`, or `async with`; methods may be called from many tasks.

    `owner` None means whoever: for operators. A job of another owner is as unknown as one that never was.
    """

    @classmethod
    async def open(cls, database: str, folder: Path) -> Queue:
        """The queue in a database ("sqlite:///path" or "postgresql://...") with its files in `folder`.

        Brings the schema up to date first. Raises DatabaseError, StorageError.
        """

    async def close(self) -> None:
        """Let database and files go; jobs stay."""

    async def submit(self, submission: Submission, owner: str) -> Accepted:
        """Accept a job, durably.

        Raises DuplicateKeyError for a key used with another request, QueueFullError (fact `retry_after`, seconds),
        NoBackendError where no known backend could ever run it, UnknownJobError for a job it shall wait for,
        WorkflowFormatError, UsageError.
        """

    async def submit_batch(
        self, submissions: Sequence[Submission], owner: str, *, name: str = "", idempotency_key: str | None = None,
        request_hash: str = "",
    ) -> tuple[str, tuple[Job, ...]]:
        """Accept many jobs as one, all or none; gives the id of the batch and the jobs. Raises as `submit`."""

    async def get(self, job: str, owner: str | None = None) -> Job:
        """A job with its graph. Raises UnknownJobError."""

    async def ls(self, which: Filter, cursor: str | None = None) -> Page:
        """The jobs of a filter, page by page. Raises UsageError for a cursor that is none."""

    def events(self, job: str, owner: str | None = None, after: int = 0) -> AsyncIterator[JobEvent]:
        """What happens to a job: its durable events after number `after`, then live ones, until it is over.

        Raises UnknownJobError.
        """

    async def wait(self, job: str, owner: str | None = None, timeout: float | None = None) -> Job:
        """The job once it is over. Raises UnknownJobError, WaitTimeoutError after `timeout` seconds."""

    async def cancel(self, job: str, owner: str | None = None) -> Job:
        """Stop a job in any state and wait until its run has stopped; one that is over stays as it is.

        Raises UnknownJobError, WaitTimeoutError where its run does not stop.
        """

    async def retry(self, job: str, owner: str | None = None) -> Job:
        """Have a failed, cancelled or expired job run again. Raises UnknownJobError, JobStateError."""

    async def set_priority(self, job: str, priority: int, owner: str | None = None) -> Job:
        """Change the priority of a waiting job; smaller goes first. Raises UnknownJobError, JobStateError."""

    async def outputs(self, job: str, owner: str | None = None) -> tuple[JobOutput, ...]:
        """The outputs of a job so far; of a failed one what its nodes made before. Raises UnknownJobError."""

    async def attempts(self, job: str, owner: str | None = None) -> tuple[Attempt, ...]:
        """The runs of a job, first to last. Raises UnknownJobError."""

    async def explain(self, job: str, owner: str | None = None) -> Explanation:
        """Why a job is where it is. Raises UnknownJobError."""

    async def delete(self, job: str, owner: str | None = None) -> None:
        """Forget a job that is over, with its outputs. Raises UnknownJobError, JobStateError."""

    async def stats(self, owner: str | None = None) -> dict[str, int]:
        """How many jobs are in each state."""

    async def pause(self) -> None:
        """Begin no more jobs; running ones go on."""

    async def resume(self) -> None:
        """Take `pause` back."""

    async def paused(self) -> bool:
        """Whether the queue is paused."""
