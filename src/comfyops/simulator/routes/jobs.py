"""/api/jobs: queue and history in one view, and cancelling by id (0.33)."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from comfyops.simulator.jobs import MODERN_STATUSES, OLDER_STATUSES, breaks_lists, finished_job, queued_job, sorted_jobs
from comfyops.simulator.machine import Machine, machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.submission import is_job_id


class _BadQueryError(Exception):
    """The answer is 400 with this text."""


async def get_jobs(request: web.Request) -> web.Response:
    """Jobs by status and workflow, sorted, a page of them."""
    here, query = machine(request), request.query
    try:
        statuses = _statuses(query.get("status", ""), here.modern)
        sort_by = _choice(query.get("sort_by", "created_at"), "sort_by", "created_at", "execution_duration")
        order = _choice(query.get("sort_order", "desc"), "sort_order", "asc", "desc")
        limit = _number(query.get("limit"), "limit")
        offset = max(_number(query.get("offset"), "offset") or 0, 0)
    except _BadQueryError as error:
        return json_answer({"error": str(error)}, status=400)
    if limit is not None and limit <= 0:
        return json_answer({"error": "limit must be a positive integer"}, status=400)
    wanted = query.get("workflow_id")
    jobs = [job for job in _all_jobs(here) if job["status"] in statuses]
    jobs = sorted_jobs([job for job in jobs if not wanted or job.get("workflow_id") == wanted], sort_by, order)
    chosen = jobs[offset:] if limit is None else jobs[offset : offset + limit]
    more = offset + len(chosen) < len(jobs)
    pages = {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more}
    return json_answer({"jobs": chosen, "pagination": pages})


async def get_job(request: web.Request) -> web.Response:
    """One job with its outputs."""
    here, job_id = machine(request), request.match_info["job_id"]
    entry = here.history.get(job_id)
    if entry is not None:
        return json_answer(finished_job(entry, modern=here.modern, detailed=True))
    job = next((job for job in _queued_jobs(here) if job["id"] == job_id), None)
    if job is None:
        return json_answer({"error": "Job not found"}, status=404)
    return json_answer(job)


async def cancel_job(request: web.Request) -> web.Response:
    """Cancel one job, whatever its state."""
    return json_answer({"cancelled": machine(request).cancel(request.match_info["job_id"])})


async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancel several jobs, unless an id is malformed."""
    try:
        body = await request.json()
    except json.JSONDecodeError:
        return json_answer({"error": "Request body must be valid JSON"}, status=400)
    job_ids = body.get("job_ids") if isinstance(body, dict) else None
    if not isinstance(job_ids, list):
        return json_answer({"error": "job_ids must be a list"}, status=400)
    invalid = [job_id if isinstance(job_id, str) else repr(job_id) for job_id in job_ids if not is_job_id(job_id)]
    if invalid:
        error = {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}
        return json_answer(error, status=400)
    cancelled = [machine(request).cancel(job_id) for job_id in job_ids]
    return json_answer({"cancelled": any(cancelled)})


def routes(modern: bool) -> list[web.RouteDef]:
    """The routes of a version; both are there as /api/jobs and /api/api/jobs only."""
    shared = [web.get("/api/jobs", get_jobs), web.get("/api/jobs/{job_id}", get_job)]
    if not modern:
        return shared
    return [*shared, web.post("/api/jobs/cancel", cancel_jobs), web.post("/api/jobs/{job_id}/cancel", cancel_job)]


def _queued_jobs(here: Machine) -> list[dict[str, Any]]:
    running = [] if here.queue.running is None else [queued_job(here.queue.running, "in_progress", modern=here.modern)]
    return running + [queued_job(item, "pending", modern=here.modern) for item in here.queue.pending]


def _all_jobs(here: Machine) -> list[dict[str, Any]]:
    entries = here.history.all().values()
    if here.settings.faithful_poison and any(breaks_lists(entry) for entry in entries):
        raise web.HTTPInternalServerError
    finished = [finished_job(entry, modern=here.modern) for entry in entries]
    return _queued_jobs(here) + finished


def _statuses(text: str, modern: bool) -> tuple[str, ...]:
    known = MODERN_STATUSES if modern else OLDER_STATUSES
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    wrong = [word for word in wanted if word not in known]
    if wrong:
        raise _BadQueryError(f"Invalid status value(s): {', '.join(wrong)}. Valid values: {', '.join(known)}")
    return tuple(wanted) if text else known


def _choice(value: str, name: str, *known: str) -> str:
    if value.lower() not in known:
        raise _BadQueryError(f"{name} must be {' or '.join(repr(word) for word in known)}")
    return value.lower()


def _number(value: str | None, name: str) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError:
        raise _BadQueryError(f"{name} must be an integer") from None
