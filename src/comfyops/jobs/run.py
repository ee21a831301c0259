"""The jobs that this process carries out: what the engine calls for each attempt of one."""

from __future__ import annotations

import asyncio

from comfyops.errors import InternalError
from comfyops.jobs import endings, steps
from comfyops.jobs.attempt import Attempt, Superseded
from comfyops.jobs.clients import Clients
from comfyops.jobs.engine import Steps
from comfyops.jobs.job import Job
from comfyops.jobs.queue import Queue


class Runner:
    """Carries out the jobs that were bound by this dispatcher or fell to it."""

    def __init__(self, queue: Queue, name: str, clients: Clients) -> None:
        self._queue = queue
        self._name = name
        self._clients = clients
        self._bound: dict[str, Job] = {}
        self.active: dict[str, asyncio.Event] = {}  # of each job that is carried out here: set to have it stopped

    def expect(self, job: Job) -> None:
        """Note a job that was bound just now, which need not be claimed again."""
        self._bound[job.id] = job

    def forget(self, job_id: str) -> None:
        """Take an `expect` back."""
        self._bound.pop(job_id, None)

    def cancel(self, job_id: str) -> bool:
        """Have a job stopped that is carried out here; False where it is not."""
        if job_id not in self.active:
            return False
        self.active[job_id].set()
        return True

    async def carry_out(self, job_id: str, attempt: int, durable: Steps) -> None:
        """The run of the engine."""
        fresh = job_id in self._bound
        job = await self._claim(job_id, attempt)
        if job is None:
            return
        stop = self.active.setdefault(job_id, asyncio.Event())
        if job.cancel_requested:
            stop.set()
        trying = Attempt(self._queue, self._clients, job, stop)
        try:
            end = await durable.do("run", lambda: trying.run(fresh=fresh))
            await trying.end(end)
        except Superseded:
            return
        except Exception as error:  # noqa: BLE001  (a fault of ours must not leave a job hanging)
            await trying.conclude(endings.failed(InternalError(f"The run broke: {error!r}")))
        finally:
            await trying.close()
            if self.active.get(job_id) is stop:
                del self.active[job_id]

    async def give_up(self, job_id: str, attempt: int) -> None:
        """Have a job run again whose run ended in the engine without a word."""
        job = await self._claim(job_id, attempt)
        if job is not None and job_id not in self.active:
            trying = Attempt(self._queue, self._clients, job, asyncio.Event())
            await trying.conclude(endings.failed(InternalError("The run ended without a result.")))

    async def _claim(self, job_id: str, attempt: int) -> Job | None:
        job = self._bound.pop(job_id, None)
        if job is not None and job.attempt == attempt:
            return job
        return await self._queue.store.write_surely(lambda tx: steps.claim(tx, job_id, attempt, self._name))
