"""Running one workflow for one request: repeated where the server forgot it, smaller where that is allowed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from comfyops.errors import ComfyOpsError, RunFailedError, RunLostError, WaitTimeoutError
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, Job, WorkflowExecutionError
from comfyops.storycore.resilience import smaller_wishes
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult

log = logging.getLogger(__name__)

Wish = tuple[str, dict[str, int]]
"""What is tried, in words, and the parameters that it changes."""


class Attempts:
    """The attempts of one execution. `story` tells of each that failed, for the result's metadata."""

    def __init__(self, job: Job, max_retries: int) -> None:
        self._job = job
        self._retries_left = max_retries
        self.story: list[dict[str, Any]] = []

    async def perform(
        self, workflows: Sequence[tuple[str, BaseAdvancedWorkflow]], request: WorkflowRequest
    ) -> tuple[str, WorkflowResult]:
        """(The key of the workflow that did it, its result): the first of the workflows, the others only where the
        request is resilient. A result says what was changed.

        Raises ComfyOpsErrors: the first attempt's.
        """
        first: ComfyOpsError | None = None
        for key, workflow in workflows if request.resilient else workflows[:1]:
            try:
                return key, await self._by_one(key, workflow, request)
            except RunFailedError as error:
                first = first or error
        raise first or WorkflowExecutionError("", "No workflow was given.")

    async def _by_one(self, key: str, workflow: BaseAdvancedWorkflow, request: WorkflowRequest) -> WorkflowResult:
        """The result of one workflow, after smaller wishes where the request is resilient."""
        if not await workflow.load_once():
            raise WorkflowExecutionError(key, f"{workflow.name} is not ready: it could not load its models.")
        first: RunFailedError | None = None
        for words, changes in self._wishes(workflow, request):
            try:
                result = await self._repeated(key, workflow, _changed(request, changes))
            except RunFailedError as error:
                first = first or error
                self.story.append({"workflow": key, "attempt": words, "error": error.message})
                continue
            if first is not None:
                result.metadata["degraded"] = {"how": words, "parameters": changes}
            return result
        raise first or WorkflowExecutionError(key, f"{workflow.name} was not tried.")

    def _wishes(self, workflow: BaseAdvancedWorkflow, request: WorkflowRequest) -> list[Wish]:
        """The request as it is, then smaller ones where it is resilient."""
        if not request.resilient:
            return [("as asked", {})]
        given = {**request.parameters, **dict(zip(("width", "height"), request.size(), strict=True))}
        named = {name: value for name, value in given.items() if value is not None}
        return [("as asked", {}), *smaller_wishes({**workflow.usual_parameters(request), **named})]

    async def _repeated(self, key: str, workflow: BaseAdvancedWorkflow, request: WorkflowRequest) -> WorkflowResult:
        while True:
            try:
                return await _run(key, workflow, request, self._job)
            except RunLostError as error:
                if not self._retries_left:
                    raise
                self._retries_left -= 1
                self.story.append({"workflow": key, "attempt": "repeated", "error": error.message})


async def _run(key: str, workflow: BaseAdvancedWorkflow, request: WorkflowRequest, job: Job) -> WorkflowResult:
    """One run; what other people's code raises becomes a WorkflowExecutionError."""
    workflow.running += 1
    try:
        return await workflow.run(request, job)
    except ComfyOpsError:
        raise
    except Exception as error:
        log.exception("The workflow %s failed.", key)
        message = f"{workflow.name} failed: {type(error).__name__}: {error}"
        raise WorkflowExecutionError(key, message) from error
    finally:
        workflow.running -= 1


def _changed(request: WorkflowRequest, changes: dict[str, int]) -> WorkflowRequest:
    if not changes:
        return request
    resolution = None if "width" in changes or "height" in changes else request.output_resolution
    parameters = {**request.parameters, **changes}
    if resolution is None and request.output_resolution is not None:
        parameters = {**dict(zip(("width", "height"), request.output_resolution, strict=True)), **parameters}
    return replace(request, parameters=parameters, output_resolution=resolution, capabilities=None)


@asynccontextmanager
async def time_limit(seconds: float | None, execution_id: str) -> AsyncIterator[None]:
    """Ends the block after so many seconds; what it runs on a server is cancelled there. Raises WaitTimeoutError."""
    try:
        async with asyncio.timeout(seconds) as clock:
            yield
    except TimeoutError as error:
        if not clock.expired():
            raise
        message = f"The execution {execution_id} takes longer than the {seconds:g} s it may take, and was cancelled."
        raise WaitTimeoutError(message, hint="Allow more time, or ask for less.", run_id=execution_id) from error
