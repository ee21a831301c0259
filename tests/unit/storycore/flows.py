"""Small workflows for tests: they run a real graph on the backend they are given."""

from __future__ import annotations

from typing import ClassVar

from comfyops.errors import RunFailedError
from comfyops.execution.run import run
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, Job, WorkflowRequest, WorkflowResult
from comfyops.workflows.graph import Graph, GraphBuilder


def sampling(seed: int = 1, steps: int = 4) -> Graph:
    """A graph that samples for some steps and saves a picture."""
    graph = GraphBuilder()
    model = graph.add("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    text = graph.add("CLIPTextEncode", text="a lighthouse", clip=model[1])
    latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    sampler = graph.add(
        "KSampler",
        model=model[0],
        positive=text[0],
        negative=text[0],
        latent_image=latent[0],
        seed=seed,
        steps=steps,
        cfg=1.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=1.0,
    )
    image = graph.add("VAEDecode", samples=sampler[0], vae=model[2])
    graph.add("SaveImage", images=image[0], filename_prefix="flow")
    return graph.build()


class Sampling(BaseAdvancedWorkflow):
    """Samples a picture; says it makes videos."""

    capabilities: ClassVar = ("TEXT_TO_VIDEO",)
    loads: ClassVar[int] = 0

    async def load_models(self) -> bool:
        type(self).loads += 1
        return True

    async def execute(self, request: WorkflowRequest) -> WorkflowResult:
        raise AssertionError("the manager gives a job")

    async def run(self, request: WorkflowRequest, job: Job) -> WorkflowResult:
        wanted = request.parameters
        graph = sampling(wanted.get("seed", 1), wanted.get("steps", 4))
        report = await run(
            graph, job.backend, job.folder, on_event=job.on_event, front=job.front, run_id=job.execution_id
        )
        paths = [str(item.path) for item in report.outputs]
        return WorkflowResult(True, paths[0], paths, {"engine": "test", "width": 64, "height": 64, "num_frames": 1})


class Failing(Sampling):
    """Fails unless it is asked for few frames."""

    most: ClassVar[int] = 61
    assumed_quality: ClassVar[float] = 0.9

    def usual_parameters(self, request: WorkflowRequest) -> dict[str, int]:
        return {"num_frames": 121, "steps": 50, "width": 720, "height": 480}

    async def run(self, request: WorkflowRequest, job: Job) -> WorkflowResult:
        known = {**self.usual_parameters(request), **request.parameters}
        if known["num_frames"] > self.most:
            raise RunFailedError("Node 3 (KSampler) failed: out of memory.")
        return WorkflowResult(True, metadata={"engine": "test", "num_frames": known["num_frames"]})
