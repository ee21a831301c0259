"""StoryCore's `wan_video_integration`: videos changed inside masks, and videos with transparency, by Wan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.config import Settings
from comfyops.storycore.advanced_workflow_base import WorkflowExecutionError
from comfyops.storycore.circuit_breaker import CircuitBreaker
from comfyops.storycore.generation_requests import picture, video_of
from comfyops.storycore.integration import Integration
from comfyops.storycore.video_layers import CompositeLayer, DualImageGuidance, blended, composite
from comfyops.storycore.wan_video_workflow import WanVideoWorkflow
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult, WorkflowValidationError
from comfyops.workflows import recipes
from comfyops.workflows.capabilities import Capability

__all__ = [
    "AlphaChannelMode",
    "CompositeLayer",
    "DualImageGuidance",
    "InpaintingMask",
    "InpaintingStage",
    "WanVideoConfig",
    "WanVideoIntegration",
    "generate_inpainted_video",
    "generate_transparent_video",
]


class InpaintingStage(StrEnum):
    """The stages of Wan 2.2: a model for high noise makes the layout, one for low noise the details."""

    HIGH_NOISE = "high_noise"
    LOW_NOISE = "low_noise"


class AlphaChannelMode(StrEnum):
    """How alpha masks are made: hard, along the edges of the picture, or by a background-removal model."""

    THRESHOLD = "threshold"
    EDGE_AWARE = "edge_aware"
    SEMANTIC = "semantic"


@dataclass(frozen=True)
class WanVideoConfig:
    """Defaults of an integration; sizes in pixels.

    Size and length are those of a video with transparency, `alpha_threshold` is the level of THRESHOLD. `steps`,
    `cfg_scale` and `fps` count where they are other than the default: each recipe has its own. The rest is kept for
    StoryCore's files; `get_model_info` lists the model files that recipes name, a mask brings its own blur.
    """

    model_path: str = "models/wan2.2_fun_inpaint_high_noise_14B_fp8_scaled.safetensors"
    text_encoder_path: str = "models/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    vae_path: str = "models/wan_2.1_vae.safetensors"
    lora_path: str = "models/wan_lightning_lora.safetensors"
    width: int = 720
    height: int = 480
    num_frames: int = 81
    fps: int = 24
    steps: int = 20
    cfg_scale: float = 3.0
    sampler: str = "uni_pc"
    scheduler: str = "simple"
    enable_inpainting: bool = True
    inpaint_strength: float = 0.8
    mask_blur: int = 4
    enable_alpha: bool = False
    alpha_threshold: float = 0.5
    enable_lora: bool = True
    lora_strength: float = 1.0
    enable_fp8: bool = True
    enable_caching: bool = True
    batch_size: int = 1


@dataclass
class InpaintingMask:
    """Where a video is to change (white), as a path, a Pillow picture or an array, or a list of those, one a frame.

    It is inverted first where that is wished, then grown softly by `feather_amount` pixels, then blurred.
    """

    mask_image: Any
    blur_radius: float = 4
    feather_amount: int = 2
    invert: bool = False

    def validate(self) -> list[str]:
        """What is wrong with it, in words; empty where nothing is."""
        wrong = [f"{name} cannot be negative" for name in ("blur_radius", "feather_amount") if getattr(self, name) < 0]
        for item in self.pictures():
            if isinstance(item, str | Path) and not Path(item).is_file():
                wrong.append(f"the mask {item} is not there")
        return wrong

    def pictures(self) -> list[Any]:
        """The mask, or the masks of the frames."""
        return list(self.mask_image) if isinstance(self.mask_image, list | tuple) else [self.mask_image]


class WanVideoIntegration:
    """Wan on a given backend, else at `comfyui_base_url`, else on the configured server (COMFYUI_URL).

    `timeout_seconds` holds for one run. With the circuit breaker, a server that failed five times in a row is left
    alone for a minute. `last_result` tells in `metadata` what made the last result: engine, recipe, seed; so does
    `info` of every frame.
    """

    def __init__(
        self,
        config: WanVideoConfig | None = None,
        model_manager: Any = None,
        timeout_seconds: float = 300.0,
        enable_circuit_breaker: bool = True,
        comfyui_base_url: str | None = None,
        *,
        backend: Backend | None = None,
        settings: Settings | None = None,
        output_folder: str | Path | None = None,
    ) -> None:
        self.config = config or WanVideoConfig()
        self.timeout_seconds = timeout_seconds
        self.last_result: WorkflowResult | None = None
        self._integration = Integration(
            WanVideoWorkflow(),
            backend=backend,
            settings=settings,
            url=comfyui_base_url,
            output_folder=output_folder,
            breaker=CircuitBreaker() if enable_circuit_breaker else None,
        )

    async def load_models(self) -> bool:
        """Whether the server has all that some recipe for masks needs; the server loads it when it runs.

        Raises BackendErrors.
        """
        async with self._integration.connection.lease() as backend:
            types = await backend.node_types(refresh=True)
        found = [*recipes.serving(Capability.VIDEO_INPAINTING), *recipes.serving(Capability.ALPHA_VIDEO)]
        return any([not await asyncio.to_thread(recipe.missing, types) for recipe in found])

    async def generate_video_with_inpainting(
        self,
        prompt: str,
        video_frames: Any,
        mask: InpaintingMask,
        use_multi_stage: bool = True,
        timeout: float | None = None,
        **parameters: Any,
    ) -> list[Image.Image]:
        """As many frames as given, changed inside the mask, the same outside of it.

        `video_frames` are pictures (paths, Pillow pictures, arrays) or the path of a video. `use_multi_stage` prefers
        Wan 2.2's two models over one; where the server lacks them, one serves, and `last_result` says so. Raises
        WorkflowValidationError for a wrong mask or video, and what the engines raise.
        """
        wrong = mask.validate()
        if wrong:
            raise WorkflowValidationError("wan_video", f"The mask cannot be used: {', '.join(wrong)}.")
        given = {
            "video": video_of(video_frames),
            "masks": [picture(item) for item in mask.pictures()],
            "mask_blur": mask.blur_radius,
            "mask_feather": mask.feather_amount,
            "mask_invert": mask.invert,
            "use_multi_stage": use_multi_stage,
        }
        result = await self._run(prompt, Capability.VIDEO_INPAINTING, {**given, **parameters}, timeout)
        return await asyncio.to_thread(_labelled, result, result.frames)

    async def generate_video_with_alpha(
        self,
        prompt: str,
        width: int | None = None,
        height: int | None = None,
        num_frames: int | None = None,
        alpha_mode: AlphaChannelMode | str = AlphaChannelMode.THRESHOLD,
        timeout: float | None = None,
        **parameters: Any,
    ) -> tuple[list[Image.Image], list[Image.Image]]:
        """(Frames in RGB, their alpha masks in grey), each exactly `num_frames`, in exactly the wanted size.

        Raises WorkflowExecutionError where the server gave no alpha, and what the engines raise.
        """
        given = {
            "width": width or self.config.width,
            "height": height or self.config.height,
            "num_frames": num_frames or self.config.num_frames,
            "alpha_mode": str(AlphaChannelMode(alpha_mode)),
            "alpha_threshold": self.config.alpha_threshold,
        }
        result = await self._run(prompt, Capability.ALPHA_VIDEO, {**given, **parameters}, timeout)
        if len(result.alpha_masks) != len(result.frames):
            raise WorkflowExecutionError("wan_video", "The run ended without an alpha mask for each frame.")
        frames = await asyncio.to_thread(_labelled, result, result.frames)
        return frames, await asyncio.to_thread(_labelled, result, result.alpha_masks)

    async def create_transparent_video(
        self,
        prompt: str,
        width: int | None = None,
        height: int | None = None,
        num_frames: int | None = None,
        alpha_mode: AlphaChannelMode | str = AlphaChannelMode.THRESHOLD,
        timeout: float | None = None,
        **parameters: Any,
    ) -> list[Image.Image]:
        """`generate_video_with_alpha`, joined to RGBA frames."""
        frames, alphas = await self.generate_video_with_alpha(
            prompt, width, height, num_frames, alpha_mode, timeout, **parameters
        )
        for frame, alpha in zip(frames, alphas, strict=True):
            frame.putalpha(alpha)
        return frames

    async def generate_with_dual_guidance(
        self, prompt: str, guidance: DualImageGuidance, timeout: float | None = None, **parameters: Any
    ) -> list[Image.Image]:
        """A video that starts from both pictures blended; the blending is done here, by plain arithmetic.

        Raises WorkflowValidationError for strengths or a blend mode that cannot be, and what the engines raise.
        """
        start = await asyncio.to_thread(blended, guidance)
        result = await self._run(prompt, Capability.IMAGE_TO_VIDEO, parameters, timeout, input_image=start)
        return await asyncio.to_thread(_labelled, result, result.frames)

    async def composite_videos(self, layers: Sequence[CompositeLayer]) -> list[Image.Image]:
        """The layers over one another as RGBA frames, made on this machine. Raises WorkflowValidationError."""
        return await asyncio.to_thread(composite, layers)

    def request_cancellation(self) -> bool:
        """Stop every run under way, here and on the server; False where there was none.

        Those who wait for one get a RunInterruptedError.
        """
        return self._integration.cancel() > 0

    async def cleanup(self) -> None:
        """Stop what is under way."""
        self.request_cancellation()

    def get_stats(self) -> dict[str, Any]:
        """Runs, failures, frames and times so far."""
        figures = self._integration.figures
        return {
            "total_runs": figures.runs,
            "failed_runs": figures.failures,
            "total_frames": figures.total_frames,
            "total_time": figures.total_time,
            "avg_fps": figures.avg_fps,
        }

    def get_model_info(self) -> dict[str, list[str]]:
        """Recipe -> the model files that it names, as "folder/file"."""
        families = self._integration.workflow.families
        return {
            recipe.name: [f"{model.folder}/{model.name}" for model in recipe.required().files]
            for family in families
            for recipe in recipes.serving(family=family)
        }

    def _own_values(self) -> dict[str, Any]:
        """What the configuration says otherwise than by default."""
        usual = WanVideoConfig()
        names = ("steps", "cfg_scale", "fps")
        return {
            name: getattr(self.config, name) for name in names if getattr(self.config, name) != getattr(usual, name)
        }

    async def _run(
        self,
        prompt: str,
        capability: Capability,
        parameters: dict[str, Any],
        timeout: float | None,
        input_image: Any = None,
    ) -> WorkflowResult:
        given = {**self._own_values(), **parameters}
        request = WorkflowRequest(prompt, capabilities=[capability], parameters=given, input_image=input_image)
        seconds = self.timeout_seconds if timeout is None else timeout
        self.last_result = result = await self._integration.run(request, seconds)
        return result


async def generate_inpainted_video(
    prompt: str, video_frames: Any, mask: InpaintingMask, config: WanVideoConfig | None = None, **options: Any
) -> list[Image.Image]:
    """`WanVideoIntegration.generate_video_with_inpainting` on the configured server."""
    return await WanVideoIntegration(config).generate_video_with_inpainting(prompt, video_frames, mask, **options)


async def generate_transparent_video(
    prompt: str, config: WanVideoConfig | None = None, **options: Any
) -> list[Image.Image]:
    """`WanVideoIntegration.create_transparent_video` on the configured server."""
    return await WanVideoIntegration(config).create_transparent_video(prompt, **options)


def _labelled(result: WorkflowResult, frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames in memory, each saying in `info` what made it."""
    facts = {name: result.metadata[name] for name in ("engine", "simulated", "recipe", "seed")}
    shown = []
    for frame in frames:
        frame.info.update(facts)
        shown.append(frame)
    return shown
