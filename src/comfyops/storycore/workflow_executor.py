"""StoryCore's `workflow_executor`: panels into workflows, checked, and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyops.backends.backend import Backend
from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import ComfyOpsError, StoryboardError
from comfyops.execution.run import run
from comfyops.execution.uploads import Uploads
from comfyops.storyboard import families, model_files, seeds, sizes
from comfyops.storyboard.families import Draft, Picture
from comfyops.storyboard.planning import with_uploads
from comfyops.storyboard.project import DRAW, ControlNet, IPAdapter, Settings
from comfyops.storycore.comfyui_config import ComfyUIConfig, ControlNetConfig, IPAdapterConfig
from comfyops.storycore.comfyui_workflow import ComfyUIWorkflow, ValidationResult, WorkflowMetadata
from comfyops.storycore.model_discovery import local_models
from comfyops.workflows.node_types import NodeTypes, shipped
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import validate

PREFIX = "storycore_panel"
"""How file names of panels begin on the server."""

_FOLDERS = {"checkpoints": "checkpoints", "controlnets": "controlnet", "ipadapters": "ipadapter", "vaes": "vae"}
_KINDS = {
    "checkpoints": model_files.CHECKPOINT,
    "controlnets": model_files.CONTROLNET,
    "ipadapters": model_files.IP_ADAPTER,
    "vaes": model_files.VAE,
}


@dataclass
class StoryCorePanelConfig:
    """One panel. `checkpoint_name` tells the model family; seed -1 draws one, which the workflow's metadata records."""

    prompt: str
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 20
    cfg_scale: float = 7.0
    seed: int = DRAW
    checkpoint_name: str = "sd_xl_base_1.0.safetensors"
    vae_name: str | None = None
    controlnet_config: ControlNetConfig | None = None
    ipadapter_config: IPAdapterConfig | None = None
    sampler_name: str = "euler"
    scheduler: str = "normal"
    denoise: float = 1.0


@dataclass(frozen=True)
class ExecutionResult:
    """How running a workflow ended."""

    success: bool
    execution_id: str = ""
    output_paths: tuple[Path, ...] = ()
    error_message: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class WorkflowExecutor:
    """Turns panels into workflows. Without `node_types` of a server, those of the newest known ComfyUI serve, and model
    names are taken as they are.
    """

    def __init__(self, config: ComfyUIConfig | None = None, node_types: NodeTypes | None = None) -> None:
        self.config = config or ComfyUIConfig.default()
        self.node_types = node_types or shipped()
        self._models: dict[str, list[str]] | None = None

    def convert_storycore_panel(self, panel: StoryCorePanelConfig) -> ComfyUIWorkflow:
        """The workflow of a panel.

        Raises StoryboardError where a value is impossible, or the server lacks a node or model file.
        """
        family = families.of_file(panel.checkpoint_name)
        settings = Settings(model=panel.checkpoint_name, vae=panel.vae_name)
        draft = Draft(self.node_types)
        picture = _picture(panel, family.choose(settings, self.node_types))
        family.build(draft, picture)
        if panel.ipadapter_config and panel.ipadapter_config.noise:
            draft.notes.append("IP-Adapter's current nodes have no noise, so it is not used.")
        metadata = WorkflowMetadata(
            seed=picture.seed, family=family.name, notes=list(draft.notes), tags=_tags(panel, family.name)
        )
        return ComfyUIWorkflow.of_graph(draft.graph(), metadata, draft.uploads)

    def validate_workflow(self, workflow: ComfyUIWorkflow) -> ValidationResult:
        """Whether the server (or the newest known ComfyUI) takes a workflow."""
        problems = validate(workflow.graph, self.node_types)
        errors = [problem.message for problem in problems if problem.severity is not Severity.WARNING]
        warnings = [problem.message for problem in problems if problem.severity is Severity.WARNING]
        return ValidationResult(
            is_valid=not errors,
            errors=errors,
            warnings=[*warnings, *workflow.metadata.notes],
            complexity_score=workflow.metadata.complexity_score,
            estimated_time_seconds=workflow.metadata.estimated_time_seconds,
        )

    async def execute_workflow(
        self, workflow: ComfyUIWorkflow, folder: str | Path = "storycore-output", backend: Backend | None = None
    ) -> ExecutionResult:
        """Upload the workflow's pictures, run it, fetch the results into a folder.

        Runs on `backend`, else on the configured server. A failure is in the result, never raised.
        """
        try:
            if backend is not None:
                return await self._execute(workflow, Path(folder), backend)
            async with ComfyUI(self.config.server_url) as server:
                return await self._execute(workflow, Path(folder), server)
        except ComfyOpsError as error:
            facts = {"code": error.code, "hint": error.hint, "seed": workflow.metadata.seed}
            return ExecutionResult(False, str(error.facts.get("run_id", "")), (), error.message, facts)

    def get_available_models(self) -> dict[str, list[str]]:
        """Model files by kind: the server's where its node types are known, else those of the installation.

        Raises the errors of `model_discovery.local_models`.
        """
        if self._models is None:
            known = {name: model_files.available(kind, self.node_types) for name, kind in _KINDS.items()}
            local = local_models(self.config) if None in known.values() else {}
            self._models = {
                name: sorted(local.get(_FOLDERS[name], ()) if files is None else files) for name, files in known.items()
            }
        return {name: list(files) for name, files in self._models.items()}

    def refresh_model_cache(self) -> None:
        """Look for model files anew when they are next asked for."""
        self._models = None

    async def _execute(self, workflow: ComfyUIWorkflow, folder: Path, backend: Backend) -> ExecutionResult:
        uploads = Uploads(backend)
        names = {item.node: await uploads.name_of(item.path) for item in workflow.uploads}
        report = await run(with_uploads(workflow.graph, names), backend, folder)
        facts = {"seconds": report.seconds, "cached": report.cached, "seed": workflow.metadata.seed}
        return ExecutionResult(True, report.run_id, tuple(item.path for item in report.outputs), metadata=facts)


def _picture(panel: StoryCorePanelConfig, models: families.Models) -> Picture:
    try:
        size = sizes.checked_size(panel.width, panel.height)
    except ValueError as error:
        raise StoryboardError(f"The panel cannot be drawn: {error}.") from error
    return Picture(
        positive=panel.prompt,
        negative=panel.negative_prompt,
        seed=seeds.draw() if panel.seed == DRAW else panel.seed,
        size=size,
        steps=panel.steps,
        cfg=panel.cfg_scale,
        sampler=panel.sampler_name,
        scheduler=panel.scheduler,
        models=models,
        prefix=PREFIX,
        denoise=panel.denoise,
        controlnets=(_controlnet(panel.controlnet_config),) if panel.controlnet_config else (),
        ip_adapter=_ip_adapter(panel.ipadapter_config) if panel.ipadapter_config else None,
    )


def _controlnet(config: ControlNetConfig) -> ControlNet:
    if config.control_image_path is None:
        raise StoryboardError("A ControlNet needs a picture.", hint="Give control_image_path.")
    return ControlNet(
        model=config.model_name,
        image=Path(config.control_image_path),
        strength=config.strength,
        preprocessor="auto" if config.preprocessing else "none",
    )


def _ip_adapter(config: IPAdapterConfig) -> IPAdapter:
    return IPAdapter(image=Path(config.reference_image_path), weight=config.weight, model=config.model_name)


def _tags(panel: StoryCorePanelConfig, family: str) -> list[str]:
    guided = {"controlnet": panel.controlnet_config, "ipadapter": panel.ipadapter_config}
    return [family, *(name for name, config in guided.items() if config)]
