"""Routes of jobs."""

from __future__ import annotations

import re

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from comfyops.api.v2 import shapes, views
from comfyops.api.v2.events import Stream
from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.requests import BoundedRoute, digest, idempotency_key, owner_seen, principal
from comfyops.api.v2.signed import Sites
from comfyops.api.v2.submissions import Admit, allowed_priority, submission_of
from comfyops.errors import WaitTimeoutError
from comfyops.jobs.job import Filter, Job, JobState
from comfyops.jobs.queue import Queue

_CANCEL_PATIENCE = 5.0  # seconds that a cancel request waits for the end; then the job is "canceling"
_LABEL = re.compile(r"metadata\[(.*)\]", re.DOTALL)


class Jobs:
    """The routes over one queue."""

    def __init__(self, queue: Queue, admit: Admit, sites: Sites) -> None:
        self._queue = queue
        self._admit = admit
        self._sites = sites

    def router(self) -> APIRouter:
        """The routes, without their prefix."""
        router = APIRouter(route_class=BoundedRoute, tags=["jobs"])
        add = router.add_api_route
        add("/jobs", self.submit, methods=["POST"], status_code=201, response_model=shapes.Job)
        add("/jobs", self.ls, methods=["GET"], response_model=shapes.JobList, response_model_exclude_none=True)
        add("/jobs/{job_id}", self.get, methods=["GET"], response_model=shapes.Job)
        add("/jobs/{job_id}", self.delete, methods=["DELETE"], status_code=204)
        add("/jobs/{job_id}/events", self.events, methods=["GET"], response_class=StreamingResponse)
        add("/jobs/{job_id}/cancel", self.cancel, methods=["POST"], response_model=shapes.Job)
        add("/jobs/{job_id}/retry", self.retry, methods=["POST"], response_model=shapes.Job)
        add("/jobs/{job_id}/priority", self.set_priority, methods=["POST"], response_model=shapes.Job)
        add("/jobs/{job_id}/workflow", self.workflow, methods=["GET"], response_model=shapes.Workflow)
        add("/jobs/{job_id}/explain", self.explain, methods=["GET"], response_model=shapes.Explanation)
        add("/jobs/{job_id}/log", self.log, methods=["GET"], response_model=shapes.Log)
        add("/batches", self.submit_batch, methods=["POST"], status_code=201, response_model=shapes.Batch)
        add("/batches/{batch_id}", self.batch, methods=["GET"], response_model=shapes.Batch)
        return router

    async def submit(self, request: Request, response: Response, body: shapes.JobRequest) -> shapes.Job:
        """Accept a job. With an Idempotency-Key, the same request again gives the same job."""
        who, key = principal(request), idempotency_key(request)
        submission = await submission_of(body, who, self._queue, self._admit, key)
        accepted = await self._queue.submit(submission, who.id)
        if accepted.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return await self._shown(request, accepted.job)

    async def ls(
        self,
        request: Request,
        limit: int = Query(50, ge=1, le=100),
        cursor: str | None = Query(None, max_length=200),
        status: str | None = Query(None, max_length=200, description="One or several, with commas."),
        batch: str | None = Query(None, max_length=100, pattern=shapes.NO_NUL),
        everybody: bool = Query(False, description="Others' jobs too, for who may see them."),
    ) -> shapes.JobList:
        """One page of jobs, newest first; `metadata[KEY]=VALUE` lists only those with that label."""
        owner = principal(request).id
        if everybody and owner_seen(request) is None:
            owner = None  # type: ignore[assignment]
        tags = views.to_tags(_wanted_labels(request))
        which = Filter(owner=owner, states=_states(status), batch=batch, tags=tags, limit=limit)
        page = await self._queue.ls(which, cursor)
        return shapes.JobList(jobs=[views.summary(job) for job in page.jobs], next_cursor=page.cursor)

    async def get(self, request: Request, job_id: str) -> shapes.Job:
        """A job and its outputs so far."""
        return await self._shown(request, await self._queue.get(_id(job_id), owner_seen(request)))

    async def delete(self, request: Request, job_id: str) -> Response:
        """Forget a job that is over."""
        await self._queue.delete(_id(job_id), owner_seen(request))
        return Response(status_code=204)

    async def events(self, request: Request, job_id: str) -> StreamingResponse:
        """What happens to a job, as server-sent events, until it is over."""
        owner = owner_seen(request)
        job = await self._queue.get(_id(job_id), owner)
        stream = Stream(self._queue, job, owner, lambda: self._sites.of(request))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream.frames(), media_type="text/event-stream", headers=headers)

    async def cancel(self, request: Request, job_id: str) -> shapes.Job:
        """Stop a job in any state; one whose run takes longer to stop is "canceling" until it has."""
        owner = owner_seen(request)
        try:
            job = await self._queue.cancel(_id(job_id), owner, timeout=_CANCEL_PATIENCE)
        except WaitTimeoutError:
            job = await self._queue.get(job_id, owner)
        return await self._shown(request, job)

    async def retry(self, request: Request, job_id: str) -> shapes.Job:
        """Have a job that failed, was canceled or expired run again."""
        return await self._shown(request, await self._queue.retry(_id(job_id), owner_seen(request)))

    async def set_priority(self, request: Request, job_id: str, body: shapes.PriorityRequest) -> shapes.Job:
        """Change the priority of a waiting job."""
        priority = allowed_priority(body.priority, principal(request))
        job = await self._queue.set_priority(_id(job_id), priority, owner_seen(request))
        return await self._shown(request, job)

    async def workflow(self, request: Request, job_id: str) -> shapes.Workflow:
        """The graph of a job, in API format."""
        job = await self._queue.get(_id(job_id), owner_seen(request))
        return shapes.Workflow(workflow=dict(job.graph or {}))

    async def explain(self, request: Request, job_id: str) -> shapes.Explanation:
        """Why a job is where it is: attempts, decisions, what it waits for."""
        return views.explanation(await self._queue.explain(_id(job_id), owner_seen(request)))

    async def log(self, request: Request, job_id: str) -> shapes.Log:
        """What happened to a job so far: changes of state, nodes, notes."""
        return views.log(await self._queue.log(_id(job_id), owner_seen(request)))

    async def submit_batch(self, request: Request, response: Response, body: shapes.BatchRequest) -> shapes.Batch:
        """Accept many jobs as one, all or none."""
        who, key = principal(request), idempotency_key(request)
        submissions = [await submission_of(item, who, self._queue, self._admit) for item in body.jobs]
        found = await self._queue.submit_batch(
            submissions, who.id, name=body.name, idempotency_key=key, request_hash=digest(body) if key else ""
        )
        return views.batch(found)

    async def batch(self, request: Request, batch_id: str) -> shapes.Batch:
        """A batch and how its jobs stand."""
        return views.batch(await self._queue.batch(_id(batch_id), owner_seen(request)))

    async def _shown(self, request: Request, job: Job) -> shapes.Job:
        outputs = await self._queue.outputs(job.id) if job.outputs_count or job.state.over else ()
        position = await self._queue.place(job.id) + 1 if job.state is JobState.WAITING else None
        return views.job(job, outputs, position, await self._sites.of(request))


def _id(text: str) -> str:
    if not views.is_uuid(text):
        raise ApiError(404, "not_found", "There is no such job.")
    return text


def _wanted_labels(request: Request) -> dict[str, str]:
    found = ((_LABEL.fullmatch(name), value) for name, value in request.query_params.multi_items())
    return {match[1]: value for match, value in found if match is not None}


def _states(status: str | None) -> tuple[JobState, ...]:
    wanted = [word.strip() for word in (status or "").split(",") if word.strip()]
    for word in wanted:
        if not views.states(word):
            raise ApiError(400, "invalid_request", f"{word[:40]!r} is no status of a job.")
    return tuple(dict.fromkeys(state for word in wanted for state in views.states(word)))
