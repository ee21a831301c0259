"""What a request asks the queue for, judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from comfyops.api.v2 import references, shapes, views
from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.requests import digest
from comfyops.api.v2.shapes import MAX_LABELS, MAX_TEXT
from comfyops.auth import scopes
from comfyops.auth.principal import Principal
from comfyops.gateway import prompts
from comfyops.jobs.job import Submission
from comfyops.jobs.queue import Queue

Admit = Callable[[Mapping[str, Any], Principal], Awaitable[None]]
"""Raises RefusedError where somebody may not run a graph, or no backend would take it."""


async def submission_of(
    body: shapes.JobRequest, who: Principal, queue: Queue, admit: Admit, key: str | None = None
) -> Submission:
    """The job that a request is about. Raises ApiError, RefusedError."""
    if not body.workflow:
        raise ApiError(422, "invalid_workflow", "The workflow is empty.")
    graph = await references.resolve(body.workflow, queue, who.id)
    await admit(graph, who)
    return Submission(
        graph,
        idempotency_key=key,
        request_hash=digest(body) if key else "",
        name=body.name,
        priority=allowed_priority(body.priority, who),
        delay=body.delay,
        deadline=body.deadline,
        depends_on=tuple(body.depends_on),
        tags=views.to_tags(_labels(body.metadata)),
        needs_tags=tuple(body.needs_tags),
        needs_vram=round(body.needs_vram_gb * 2**30),
        backend=body.backend,
        webhook_url=body.webhook_url,
        extra_data=prompts.extra_data(body.extra_data or {}),
    )


def allowed_priority(wanted: int, who: Principal) -> int:
    """The priority, where somebody may have it: ahead of everybody's jobs goes only who may change them all.

    Raises ApiError.
    """
    if wanted < 0 and not who.may(scopes.JOBS_ALL):
        raise ApiError(403, "forbidden", f"A priority below 0 is ahead of others' jobs: it needs {scopes.JOBS_ALL}.")
    return wanted


def _labels(given: Mapping[str, str] | str | None) -> dict[str, str]:
    """The labels of a request; a plain text is the label "" of older clients."""
    found = {"": given} if isinstance(given, str) else dict(given or {})
    if len(found) > MAX_LABELS or any(len(key) + len(value) > MAX_TEXT // 2 for key, value in found.items()):
        words = f"`metadata` has more than {MAX_LABELS} labels, or one longer than {MAX_TEXT // 2} characters."
        raise ApiError(400, "invalid_request", words)
    return found
