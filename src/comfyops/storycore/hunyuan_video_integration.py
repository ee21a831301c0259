"""StoryCore's `hunyuan_video_integration`: HunyuanVideo 1.5 on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.config import Settings
from comfyops.errors import ComfyOpsError
from comfyops.execution.masks import opened
from comfyops.storycore.generation_requests import RANDOM_SEED, picture
from comfyops.storycore.hunyuan_video_workflow import HunyuanVideoWorkflow
from comfyops.storycore.integration import Integration
from comfyops.storycore.workflow_values import WorkflowRequest, WorkflowResult
from comfyops.support.files import check_folder, storage_error
from comfyops.workflows.capabilities import Capability


class HunyuanWorkflowType(StrEnum):
    """What to make."""

    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    SUPER_RESOLUTION = "super_resolution"


@dataclass(frozen=True)
class HunyuanVideoConfig:
    """Defaults of an integration; sizes in pixels.

    The paths, `sampler`, `scheduler`, `enable_fp8` and `batch_size` are kept for StoryCore's files: the recipes have
    their own model files and samplers.
    """

    model_path: str = "models/hunyuanvideo1.5_720p_i2v_fp16.safetensors"
    text_encoder_path: str = "models/qwen2.5_vl_7b_fp16.safetensors"
    vae_path: str = "models/hunyuanvideo_vae.safetensors"
    clip_vision_path: str = "models/clip_vision_h.safetensors"
    width: int = 720
    height: int = 480
    num_frames: int = 121
    fps: int = 24
    steps: int = 50
    cfg_scale: float = 7.0
    sampler: str = "euler_ancestral"
    scheduler: str = "normal"
    enable_upscaling: bool = True
    upscale_factor: float = 1.5
    upscale_model: str = "models/realesrgan_x2.pth"
    enable_fp8: bool = False
    enable_caching: bool = True
    batch_size: int = 1


@dataclass
class VideoGenerationRequest:
    """What is wanted. `conditioning_image` is a picture in any form, for SUPER_RESOLUTION a video: a path or frames.

    With `enable_upscaling`, a video from text is made `upscale_factor` times as large by the super-resolution model.
    """

    workflow_type: HunyuanWorkflowType | str
    prompt: str
    negative_prompt: str = ""
    seed: int = RANDOM_SEED
    conditioning_image: Any = None
    width: int = 720
    height: int = 480
    num_frames: int = 121
    fps: int = 24
    steps: int = 50
    cfg_scale: float = 7.0
    sampler: str = "euler_ancestral"
    scheduler: str = "normal"
    enable_upscaling: bool = False
    upscale_factor: float = 1.5
    enable_caching: bool = True
    batch_size: int = 1


@dataclass
class VideoGenerationResult:
    """How it ended; `frames` are decoded when they are asked for. `metadata["engine"]` says what made it."""

    success: bool
    frames: Sequence[Image.Image] = ()
    video_path: str | None = None
    workflow_type: HunyuanWorkflowType = HunyuanWorkflowType.TEXT_TO_VIDEO
    generation_time: float = 0.0
    num_frames: int = 0
    resolution: tuple[int, int] = (720, 480)
    quality_score: float = 0.0
    temporal_consistency: float = 0.0
    sharpness_score: float = 0.0
    error_message: str = ""
    warnings: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class FrameSequence:
    """Frames in their order, with their rate and size."""

    frames: Sequence[Any]
    fps: float = 24
    width: int = 720
    height: int = 480

    def __len__(self) -> int:
        return len(self.frames)

    def get_duration(self) -> float:
        """Seconds. Raises no error for a rate of 0: that lasts no time."""
        return len(self.frames) / self.fps if self.fps else 0.0

    def save_frames(self, folder: str | Path, prefix: str = "frame") -> list[str]:
        """Write each frame as PREFIX_0001.png and so on; their paths. Raises StorageError, InputError."""
        return list(self._saved(Path(folder), prefix))

    def _saved(self, folder: Path, prefix: str) -> Iterator[str]:
        check_folder(folder)
        for number, frame in enumerate(self.frames, 1):
            path = folder / f"{prefix}_{number:04d}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                opened(picture(frame)).save(path)
            except OSError as error:
                raise storage_error(error, path) from error
            yield str(path)


class HunyuanVideoIntegration:
    """HunyuanVideo 1.5 on a given backend, else on the configured server (COMFYUI_URL)."""

    def __init__(
        self,
        config: HunyuanVideoConfig | None = None,
        model_manager: Any = None,
        *,
        backend: Backend | None = None,
        settings: Settings | None = None,
        output_folder: str | Path | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        self.config = config or HunyuanVideoConfig()
        self.timeout_seconds = timeout_seconds
        self._integration = Integration(
            HunyuanVideoWorkflow(), backend=backend, settings=settings, output_folder=output_folder
        )
        self._counts = dict.fromkeys(HunyuanWorkflowType, 0)
        self._cache: dict[str, VideoGenerationResult] = {}
        self._hits = 0

    async def generate_video(self, request: VideoGenerationRequest) -> VideoGenerationResult:
        """What is wanted; a failure is in the result, never raised.

        A request with a seed and without a picture that was made before is answered from what was made then.
        """
        began = time.monotonic()
        kind = HunyuanWorkflowType.TEXT_TO_VIDEO
        try:
            kind = HunyuanWorkflowType(str(request.workflow_type).lower())
            self._counts[kind] += 1
            fixed = request.enable_caching and request.seed != RANDOM_SEED and request.conditioning_image is None
            key = repr(request) if fixed else ""
            if key in self._cache and _still_there(self._cache[key]):
                self._hits += 1
                return self._cache[key]
            result = _shown(kind, await self._integration.run(_request(kind, request), self.timeout_seconds))
        except ValueError as error:
            return VideoGenerationResult(False, error_message=f"There is no such workflow type: {error}.")
        except ComfyOpsError as error:
            seconds = time.monotonic() - began
            return VideoGenerationResult(
                False, workflow_type=kind, generation_time=seconds, error_message=error.message
            )
        if key and result.success:
            self._cache[key] = result
        return result

    def get_stats(self) -> dict[str, Any]:
        """Counts by kind, frames, seconds, hits and size of the cache."""
        figures = self._integration.figures
        return {
            "t2v_count": self._counts[HunyuanWorkflowType.TEXT_TO_VIDEO],
            "i2v_count": self._counts[HunyuanWorkflowType.IMAGE_TO_VIDEO],
            "sr_count": self._counts[HunyuanWorkflowType.SUPER_RESOLUTION],
            "failures": figures.failures,
            "total_frames": figures.total_frames,
            "total_time": figures.total_time,
            "avg_fps": figures.avg_fps,
            "cache_hits": self._hits,
            "cache_size": len(self._cache),
            "memory_stats": {"in_use_gb": self._integration.memory_used},
        }

    def clear_cache(self) -> None:
        """Forget what was made; its files stay."""
        self._cache.clear()

    async def cleanup(self) -> None:
        """Stop what is under way, and forget what was made."""
        self._integration.cancel()
        self.clear_cache()


async def generate_text_to_video(
    prompt: str, config: HunyuanVideoConfig | None = None, **options: Any
) -> VideoGenerationResult:
    """A video from text, on the configured server; `options` are fields of VideoGenerationRequest."""
    request = VideoGenerationRequest(HunyuanWorkflowType.TEXT_TO_VIDEO, prompt, **{**_defaults(config), **options})
    return await HunyuanVideoIntegration(config).generate_video(request)


async def generate_image_to_video(
    prompt: str, image: Any, config: HunyuanVideoConfig | None = None, **options: Any
) -> VideoGenerationResult:
    """A video from a picture, on the configured server; `options` are fields of VideoGenerationRequest."""
    given = {**_defaults(config), "conditioning_image": image, **options}
    request = VideoGenerationRequest(HunyuanWorkflowType.IMAGE_TO_VIDEO, prompt, **given)
    return await HunyuanVideoIntegration(config).generate_video(request)


def _defaults(config: HunyuanVideoConfig | None) -> dict[str, Any]:
    """What a configuration says about a request."""
    names = ("width", "height", "num_frames", "fps", "steps", "cfg_scale")
    return {name: getattr(config or HunyuanVideoConfig(), name) for name in names}


def _request(kind: HunyuanWorkflowType, request: VideoGenerationRequest) -> WorkflowRequest:
    """The request in the manager's form."""
    upscaled = request.enable_upscaling and kind is HunyuanWorkflowType.TEXT_TO_VIDEO
    factor = request.upscale_factor if request.enable_upscaling else 1.0
    names = ("negative_prompt", "seed", "fps", "steps", "cfg_scale")
    given = {name: getattr(request, name) for name in names}
    given |= {"width": round(request.width * factor), "height": round(request.height * factor)}
    if kind is HunyuanWorkflowType.SUPER_RESOLUTION:
        del given["steps"], given["cfg_scale"]  # a distilled model with its own
        given["video"] = request.conditioning_image
    else:
        given["num_frames"] = request.num_frames
    return WorkflowRequest(
        request.prompt,
        capabilities=[Capability(kind.value), *([Capability.SUPER_RESOLUTION] if upscaled else [])],
        parameters=given,
        input_image=request.conditioning_image if kind is HunyuanWorkflowType.IMAGE_TO_VIDEO else None,
    )


def _shown(kind: HunyuanWorkflowType, made: WorkflowResult) -> VideoGenerationResult:
    measured = made.quality_metrics
    return VideoGenerationResult(
        success=made.success,
        frames=made.frames,
        video_path=made.output_path,
        workflow_type=kind,
        generation_time=made.execution_time,
        num_frames=len(made.frames),
        resolution=(made.metadata["width"], made.metadata["height"]),
        quality_score=measured.get("quality_score", 0.0),
        temporal_consistency=measured.get("temporal_consistency", 0.0),
        sharpness_score=measured.get("sharpness_score", 0.0),
        error_message=made.error_message or "",
        warnings=list(made.metadata["warnings"]),
        metadata=made.metadata,
    )


def _still_there(result: VideoGenerationResult) -> bool:
    return result.video_path is not None and Path(result.video_path).is_file()
