"""The routes below /ops/schedules: jobs at set times."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from comfyops.api.v2 import shapes
from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.requests import BoundedRoute, principal
from comfyops.api.v2.submissions import Admit, submission_of
from comfyops.auth import scopes
from comfyops.jobs.queue import Queue
from comfyops.jobs.schedules import Schedule, Schedules


class Plan(BaseModel):
    """When and what: `cron` is minute hour day month weekday, in `timezone`; `job` is as POST /api/v2/jobs takes it.

    `misfire` says what becomes of times at which nothing could submit: one job for all of them, or none.
    """

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^/\x00]+$")
    cron: str = Field(max_length=200)
    timezone: str = Field(default="UTC", max_length=100)
    misfire: Literal["once", "skip"] = "once"
    job: shapes.JobRequest


class Paused(BaseModel):
    """Whether its times pass without a job."""

    paused: bool = True


def router(queue: Queue, admit: Admit) -> APIRouter:
    """The routes; `admit` judges what is to be submitted."""
    routes = APIRouter(prefix="/ops/schedules", tags=["schedules"], route_class=BoundedRoute)
    schedules = Schedules(queue)

    @routes.get("")
    async def ls() -> dict[str, Any]:
        """Every schedule, by name; times are seconds since 1970."""
        return {"schedules": [_shown(schedule) for schedule in await schedules.ls()]}

    @routes.post("")
    async def add(request: Request, body: Plan) -> dict[str, Any]:
        """Add a schedule, whose jobs are one's own; of a name that is one's own already, change it."""
        who = principal(request)
        if not who.may(scopes.JOBS_WRITE):
            raise ApiError(403, "forbidden", f"The role {who.role} lacks {scopes.JOBS_WRITE}.")
        submission = await submission_of(body.job, who, queue, admit)
        found = Schedule(body.name, who.id, body.cron, submission, body.timezone, body.misfire)
        return _shown(await schedules.add(found))

    @routes.post("/{name}/pause")
    async def pause(name: str, body: Paused) -> dict[str, Any]:
        """Leave its times out, or no longer."""
        await schedules.pause(name, body.paused)
        return {"name": name, "paused": body.paused}

    @routes.post("/{name}/remove")
    async def remove(name: str) -> dict[str, Any]:
        """Forget a schedule; its jobs stay."""
        await schedules.remove(name)
        return {"removed": name}

    return routes


def _shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "owner": schedule.owner,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "misfire": schedule.misfire,
        "next_at": schedule.next_at,
        "last_at": schedule.last_at,
        "last_job": schedule.last_job,
        "paused": schedule.paused,
        "job_name": schedule.submission.name,
    }
