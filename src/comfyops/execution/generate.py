"""Making what somebody asks for: the best recipe that the server can serve, its inputs made ready, its result cut.

Only VIDEO_GENERATION is served without a server, by the local engine; it never stands in for anything else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfyops import __version__
from comfyops.backends.backend import Backend, SystemStats
from comfyops.errors import UsageError
from comfyops.execution import choosing, finishing, local_video, mattes
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.choosing import Choice
from comfyops.execution.frames import Frames
from comfyops.execution.generation import Engine, GenerationRequest, GenerationResult, Quality
from comfyops.execution.input_files import InputFiles, Sizes, resolved
from comfyops.execution.panel import without_login
from comfyops.execution.render import is_simulator
from comfyops.execution.run import OnEvent, RunReport, run
from comfyops.support.files import check_folder, write_text
from comfyops.workflows import api_format
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import Recipe, Values

_FIRST_SEEDS = 2**53
"""Drawn seeds are below this: every program reads them exactly."""


async def generate(
    request: GenerationRequest, backend: Backend | None, folder: Path, *, on_event: OnEvent | None = None
) -> GenerationResult:
    """Make what is asked for and put it into `folder`; being cancelled cancels the run on the server.

    `backend` may be None for VIDEO_GENERATION alone. Raises UnsupportedError where no recipe can serve it here, with
    every reason in `facts["refused"]`; UsageError, InputError, MissingExtraError, MissingFileError for what is wrong
    with the request; StorageError; and the BackendErrors of a run.
    """
    check_folder(folder)
    if request.capabilities == (Capability.VIDEO_GENERATION,):
        return await asyncio.to_thread(local_video.generate, request, folder)
    if backend is None:
        raise UsageError("Only VIDEO_GENERATION is made without a server.", hint="Give a server.")
    began = time.monotonic()
    types, stats = await asyncio.gather(backend.node_types(), backend.system_stats())
    choice = await asyncio.to_thread(choosing.choose, request, types)
    made = await _made(request, choice.recipe, backend, types, folder, on_event)
    shown, remarks = await asyncio.to_thread(finishing.finished, made.paths, made.sizes)
    shown, alphas, paths = await _with_alpha(request, choice.recipe, made, shown, backend, folder)
    result = GenerationResult(
        recipe=choice.recipe.name,
        engine=Engine.SIMULATOR if is_simulator(stats) else Engine.COMFYUI,
        outputs=paths,
        frames=shown,
        alphas=alphas,
        seed=made.values.seed,
        fps=made.sizes.fps,
        seconds=time.monotonic() - began,
        warnings=(*made.warnings, *remarks, *_alpha_remark(request, choice.recipe)),
        refused=choice.refused,
        provenance=_provenance(made, choice, backend, stats),
    )
    await asyncio.to_thread(_record, result)
    return result


@dataclass(frozen=True, slots=True)
class _Made:
    """One run of a recipe."""

    values: Values
    sizes: Sizes
    graph: Graph
    report: RunReport
    hashes: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        return [item.path for item in self.report.outputs]


async def _made(
    request: GenerationRequest,
    recipe: Recipe,
    backend: Backend,
    types: NodeTypes,
    folder: Path,
    on_event: OnEvent | None,
) -> _Made:
    sizes = await asyncio.to_thread(resolved, request, recipe)
    files = InputFiles(backend)
    values, warnings = _values(request, recipe, sizes), _ignored(request, recipe)
    values = await _with_files(values, request, recipe, files, sizes)
    graph = await asyncio.to_thread(recipe.build, values, types)
    report = await run(
        graph,
        backend,
        folder,
        on_event=on_event,
        front=request.priority,
        timeout=request.timeout,
        run_id=str(uuid.uuid4()),
    )
    return _Made(values, sizes, graph, report, files.hashes, warnings)


def _values(request: GenerationRequest, recipe: Recipe, sizes: Sizes) -> Values:
    """The request's values that the recipe takes; steps follow the quality."""
    steps = recipe.defaults.steps[list(Quality).index(request.quality)] if recipe.defaults.steps else None
    width, height = sizes.wanted or (None, None)
    wanted: dict[str, Any] = {
        "prompt": request.prompt,
        "negative": request.negative,
        "width": width,
        "height": height,
        "frames": sizes.frames,
        "fps": sizes.fps,
        "steps": request.steps or steps,
        "cfg": request.cfg,
        "strength": request.strength,
        "loras": request.loras,
        "model": request.model,
        "control": request.control,
        "guide": request.guide,
        "layers": request.layers,
        "seconds": request.seconds,
    }
    given = {name: value for name, value in wanted.items() if name in recipe.takes and value is not None}
    seed = secrets.randbelow(_FIRST_SEEDS) if request.seed is None else request.seed
    return Values(seed=seed, prefix=f"{recipe.name}-{secrets.token_hex(4)}", **given)


def _ignored(request: GenerationRequest, recipe: Recipe) -> tuple[str, ...]:
    """A remark on each value that the recipe does not take."""
    names = ("prompt", "negative", "width", "height", "frames", "fps", "steps", "cfg", "strength", "loras", "model")
    given = [name for name in (*names, "control", "guide", "layers", "seconds") if getattr(request, name)]
    return tuple(f"{recipe.title} takes no {name}; it is left out." for name in given if name not in recipe.takes)


async def _with_files(
    values: Values, request: GenerationRequest, recipe: Recipe, files: InputFiles, sizes: Sizes
) -> Values:
    fit = recipe.defaults.width is not None and "video" not in recipe.takes
    names = tuple([await files.picture(picture, sizes, fit=fit) for picture in request.images])
    values = replace(values, images=names)
    if request.video is not None:
        values = replace(values, video=await files.video(request.video, sizes, fit="masks" in recipe.needs))
    if "masks" in recipe.takes:
        return replace(values, masks=await files.masks(request, sizes))
    if request.mask is not None and "mask" in recipe.takes:
        return replace(values, mask=await files.mask(request, sizes))
    return values


async def _with_alpha(
    request: GenerationRequest, recipe: Recipe, made: _Made, shown: Frames, backend: Backend, folder: Path
) -> tuple[Frames, Frames | None, tuple[Path, ...]]:
    """Frames, alpha mattes where they are asked for, and all output files."""
    paths = tuple(made.paths)
    own = Capability.ALPHA_VIDEO in recipe.capabilities
    if Capability.ALPHA_VIDEO not in request.capabilities and not own:
        return shown, None, paths
    if request.alpha is AlphaMode.MODEL or Capability.ALPHA_VIDEO not in request.capabilities:
        return shown.part("rgb"), shown.part("alpha"), paths
    joined = await mattes.matted(
        shown, request.alpha, request.alpha_level, backend, folder, made.values.prefix, has_alpha=own
    )
    return shown.part("rgb"), joined.part("alpha"), (*paths, *joined.paths)


def _alpha_remark(request: GenerationRequest, recipe: Recipe) -> tuple[str, ...]:
    wanted = Capability.ALPHA_VIDEO in request.capabilities
    if not wanted or Capability.ALPHA_VIDEO in recipe.capabilities or request.alpha is AlphaMode.SEMANTIC:
        return ()
    return (f"{recipe.title} makes no alpha: the matte is estimated from colours ({request.alpha}).",)


def _provenance(made: _Made, choice: Choice, backend: Backend, stats: SystemStats) -> dict[str, Any]:
    recipe = choice.recipe
    return {
        "recipe": recipe.name,
        "source": recipe.source.title,
        "engine": Engine.SIMULATOR if is_simulator(stats) else Engine.COMFYUI,
        "simulated": is_simulator(stats),
        "seed": made.values.seed,
        "graph": api_format.dump(made.graph),
        "uploads": dict(made.hashes),
        "backend": without_login(backend.url),
        "backend_version": stats.version,
        "run_id": made.report.run_id,
        "cached": made.report.cached,
        "received": {item.path.name: item.sha256 for item in made.report.outputs},
        "refused": [{"recipe": item.recipe, "reasons": list(item.reasons)} for item in choice.refused],
        "comfyops": __version__,
    }


def _record(result: GenerationResult) -> None:
    """The provenance as JSON beside the first output, with the hashes of the files as they are now."""
    if result.outputs:
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in result.outputs}
        record = {**result.provenance, "files": files, "frames": len(result.frames), "warnings": list(result.warnings)}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        write_text(result.outputs[0].with_suffix(".json"), text)
