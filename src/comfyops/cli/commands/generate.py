"""`comfyops generate`: ask for a capability, get pictures or a video from whichever workflow the server can serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comfyops import app as parts
from comfyops.cli.options import ApiPrefix, Json, Server, Token, settings, wait_for
from comfyops.cli.output import Result, count, say
from comfyops.config import Settings
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.generate import generate as generate_with
from comfyops.execution.generation import GenerationRequest, GenerationResult, Quality
from comfyops.workflows.capabilities import Capability

app = typer.Typer(add_completion=False)

_LOCAL = (Capability.VIDEO_GENERATION,)


@app.command()
def generate(
    capabilities: Annotated[
        list[Capability], typer.Argument(metavar="CAPABILITY", help="What is wanted; one workflow must serve all.")
    ],
    prompt: Annotated[str, typer.Option("--prompt", help="What it shows.")] = "",
    negative: Annotated[str | None, typer.Option("--negative", help="What it must not show.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Drawn, and told, if not given.")] = None,
    width: Annotated[int | None, typer.Option("--width", min=1, help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=1, help="Pixels.")] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames of a video.")] = None,
    fps: Annotated[float | None, typer.Option("--fps", min=0.1, help="Frames a second.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Sampling steps.")] = None,
    cfg: Annotated[float | None, typer.Option("--cfg", min=0, help="How closely it follows the prompt.")] = None,
    strength: Annotated[float | None, typer.Option("--strength", min=0, help="Of a change, or of a guide.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture to start from; may be repeated.")
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="White where something is to change.")] = None,
    video: Annotated[Path | None, typer.Option("--video", help="A video to change.")] = None,
    quality: Annotated[Quality, typer.Option("--quality", help="How much time it may take.")] = Quality.BALANCED,
    family: Annotated[str, typer.Option("--family", help="Only workflows of this model family.")] = "",
    recipe: Annotated[str, typer.Option("--recipe", help="This workflow; see docs/capabilities.md.")] = "",
    alpha: Annotated[AlphaMode, typer.Option("--alpha", help="How an alpha matte is made.")] = AlphaMode.MODEL,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the outputs.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0.1, help="Seconds to wait for the end.")] = None,
    server: Server = None,
    token: Token = None,
    api_prefix: ApiPrefix = None,
    as_json: Json = False,
) -> Result:
    """Make something by what it is, such as text_to_image, with the best workflow that the server has the files for."""
    request = GenerationRequest(
        capabilities=tuple(capabilities),
        prompt=prompt,
        negative=negative,
        seed=seed,
        width=width,
        height=height,
        frames=frames,
        fps=fps,
        steps=steps,
        cfg=cfg,
        strength=strength,
        images=tuple(image or ()),
        mask=mask,
        video=video,
        quality=quality,
        family=family,
        recipe=recipe,
        alpha=alpha,
        timeout=timeout,
    )
    chosen = settings(server=server, token=token, api_prefix=api_prefix, output=output)
    made = wait_for(_made(request, chosen))
    for remark in made.warnings:
        say(remark)
    made_of = f"{made.recipe} on {made.engine}, seed {made.seed}"
    notes = [f"{made_of}: {count(len(made.outputs), 'output')} in {made.seconds:.1f} s"]
    return Result("generate", _data(made), [str(path) for path in made.outputs], notes)


async def _made(request: GenerationRequest, chosen: Settings) -> GenerationResult:
    if request.capabilities == _LOCAL:  # the local engine needs no server
        return await generate_with(request, None, chosen.output)
    async with parts.connect(chosen) as backend:
        return await generate_with(request, backend, chosen.output)


def _data(made: GenerationResult) -> dict[str, object]:
    return {
        "recipe": made.recipe,
        "engine": made.engine,
        "outputs": made.outputs,
        "frames": len(made.frames),
        "fps": made.fps,
        "seed": made.seed,
        "seconds": made.seconds,
        "warnings": made.warnings,
        "refused": made.refused,
    }
