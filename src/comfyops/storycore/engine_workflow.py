"""Workflows that ComfyOps' engines do: which families of recipes serve them, and their results in StoryCore's form."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from comfyops.errors import ComfyOpsError, UnsupportedError
from comfyops.execution import choosing
from comfyops.execution.generate import generate
from comfyops.execution.generation import GenerationRequest, GenerationResult, Quality
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, Job, WorkflowExecutionError
from comfyops.storycore.connection import Connection
from comfyops.storycore.generation_requests import checked, generation_request, unused
from comfyops.storycore.quality import measured_quality
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult
from comfyops.workflows import recipes
from comfyops.workflows.node_types import NodeTypes


class EngineWorkflow(BaseAdvancedWorkflow):
    """Serves requests by recipes of its families ("" = any), the first that the server can serve."""

    families: ClassVar[tuple[str, ...]] = ()

    async def execute(self, request: WorkflowRequest) -> WorkflowResult:
        """Do it on the configured server; results go below the setting `output`. A failure is in the result."""
        connection = Connection()
        execution_id = str(uuid.uuid4())
        try:
            async with connection.lease() as backend:
                return await self.run(request, Job(execution_id, backend, connection.settings.output / execution_id))
        except ComfyOpsError as error:
            return WorkflowResult(False, error_message=error.message, metadata={"code": error.code})

    async def run(self, request: WorkflowRequest, job: Job) -> WorkflowResult:
        """Do it. Raises what `execution.generate.generate` raises."""
        types = await job.backend.node_types()
        wish, passed_over = await asyncio.to_thread(self.chosen, request, types)
        made = await generate(replace(wish, priority=job.front), job.backend, job.folder, on_event=job.on_event)
        return await asyncio.to_thread(workflow_result, made, [*unused(request), *passed_over])

    def chosen(self, request: WorkflowRequest, types: NodeTypes) -> tuple[GenerationRequest, list[str]]:
        """(The request with the recipe that this server can serve, why better ones of other families cannot).

        Raises WorkflowExecutionError with the reasons against every recipe.
        """
        reasons: list[str] = []
        for family in self.families_for(request):
            try:
                wish = generation_request(request, family)
                if wish.recipe and family not in ("", recipes.named(wish.recipe).family):
                    continue
                return replace(wish, recipe=choosing.choose(wish, types).recipe.name), reasons
            except UnsupportedError as error:
                reasons += [_against(item["recipe"], item["reasons"]) for item in error.facts["refused"]]
        wanted = request.parameters.get("recipe") or ", ".join(item.name for item in request.needs())
        reasons = reasons or [f"it has no recipe for {wanted}"]
        message = f"{self.name} cannot serve this here: {'; '.join(reasons)}."
        raise WorkflowExecutionError(self.name, message, {"reasons": reasons})

    def families_for(self, request: WorkflowRequest) -> tuple[str, ...]:
        """The families to try, the best first."""
        return self.families

    def missing(self, request: WorkflowRequest, types: NodeTypes) -> tuple[str, ...]:
        """Why no recipe of its families can be served; empty where one can."""
        try:
            self.chosen(request, types)
        except WorkflowExecutionError as error:
            return tuple(error.details["reasons"])
        except ComfyOpsError as error:
            return (error.message.rstrip("."),)
        return ()

    async def validate_request(self, request: WorkflowRequest) -> tuple[bool, str]:
        """(Whether it can take the request, why not)."""
        able, why = await super().validate_request(request)
        if able:
            why = checked(request)
        return (not why, why)

    def usual_parameters(self, request: WorkflowRequest) -> Mapping[str, Any]:
        """Size, frames and steps of its first recipe for the request."""
        for family in self.families_for(request):
            for recipe in recipes.serving(*request.needs(), family=family):
                own = recipe.defaults
                steps = own.steps[list(Quality).index(Quality(request.quality_mode))] if own.steps else None
                found = {"width": own.width, "height": own.height, "num_frames": own.frames, "steps": steps}
                return {name: value for name, value in found.items() if value is not None}
        return {}

    @property
    def required_models(self) -> list[str]:
        """The model files that its recipes name, as "folder/file"."""
        names = {
            f"{model.folder}/{model.name}"
            for family in self.families
            for recipe in recipes.serving(family=family)
            for model in recipe.required().files
        }
        return sorted(names)


def _against(recipe: str, reasons: Sequence[str]) -> str:
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{recipe} cannot serve: {reasons[0]}{more}"


def workflow_result(made: GenerationResult, remarks: list[str]) -> WorkflowResult:
    """What the engines made, in StoryCore's form. Reads the frames once, to measure their quality."""
    paths = [str(path) for path in made.outputs]
    width, height = made.frames.size
    return WorkflowResult(
        success=made.ok,
        output_path=paths[0] if paths else None,
        output_paths=paths,
        metadata={
            **provenance(made),
            "width": width,
            "height": height,
            "num_frames": len(made.frames),
            "warnings": [*made.warnings, *remarks],
        },
        error_message=None if made.ok else "The run ended without any output.",
        execution_time=made.seconds,
        quality_metrics=measured_quality(made.frames),
        frames=made.frames,
        alpha_masks=made.alphas or (),
    )


def provenance(made: GenerationResult) -> dict[str, Any]:
    """What made a result: engine, recipe, seed; whether it was simulated."""
    return {
        "engine": made.engine.value,
        "simulated": made.simulated,
        "recipe": made.recipe,
        "seed": made.seed,
        "fps": made.fps,
        "refused_recipes": {item.recipe: list(item.reasons) for item in made.refused},
        "run_id": made.provenance.get("run_id", ""),
    }
