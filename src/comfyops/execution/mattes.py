"""Alpha mattes for a made video: from its model, from colours, or from a server's background-removal model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.errors import StorageError, UnsupportedError
from comfyops.execution import alpha, frames
from comfyops.execution.alpha import AlphaMode
from comfyops.execution.frames import Frames
from comfyops.execution.input_files import InputFiles, Sizes
from comfyops.execution.run import run
from comfyops.support.files import storage_error, writing
from comfyops.workflows.graph import Graph, GraphBuilder
from comfyops.workflows.node_types import NodeTypes

MODEL_URL = "https://huggingface.co/Comfy-Org/BiRefNet/resolve/main/background_removal/birefnet.safetensors"
"""A background-removal model, as the official templates name it."""


async def matted(
    shown: Frames, mode: AlphaMode, level: float, backend: Backend, folder: Path, stem: str, *, has_alpha: bool
) -> Frames:
    """The frames with alpha mattes, as an animated WebP without loss beside the others.

    `has_alpha` tells that the frames bring alpha of their model's own. Raises UnsupportedError where SEMANTIC is asked
    of a server that cannot do it, MissingExtraError, BackendErrors, StorageError.
    """
    if mode is AlphaMode.SEMANTIC:
        mattes: Iterator[Image.Image] = iter(await _semantic(shown, backend, folder))
    else:
        mattes = _estimated(shown, mode, level, has_alpha)
    path = folder / f"{stem}-{mode}.webp"
    await asyncio.to_thread(_write, path, shown, mattes)
    return await asyncio.to_thread(frames.opened, [path], shown.fps, len(shown))


def _estimated(shown: Frames, mode: AlphaMode, level: float, has_alpha: bool) -> Iterator[Image.Image]:
    for picture in shown:
        own = picture.convert("RGBA").getchannel("A") if has_alpha else None
        yield alpha.threshold(picture, own, level) if mode is AlphaMode.THRESHOLD else alpha.edge_aware(picture, own)


async def _semantic(shown: Frames, backend: Backend, folder: Path) -> list[Image.Image]:
    types = await backend.node_types()
    model = removal_model(types)
    files = InputFiles(backend)
    name = (
        await files.video(shown.paths[0], Sizes(), fit=False) if _is_one_video(shown) else await _as_video(shown, files)
    )
    report = await run(_graph(name, model), backend, folder / "mattes")
    found = frames.opened(sorted(item.path for item in report.outputs))
    return [picture.convert("L") for picture in found][: len(shown)]


def removal_model(types: NodeTypes) -> str:
    """The server's background-removal model.

    Raises UnsupportedError, saying what would bring it.
    """
    if "LoadBackgroundRemovalModel" not in types or "RemoveBackground" not in types:
        raise UnsupportedError(
            "This server has no background-removal nodes, which a semantic matte needs.",
            hint="Update ComfyUI to 0.33.0 or newer, or use the alpha mode threshold or edge_aware.",
        )
    declared = types["LoadBackgroundRemovalModel"].input("bg_removal_name")
    choices = tuple(declared.choices or ()) if declared else ()
    if not choices:
        raise UnsupportedError(
            "This server has no background-removal model, which a semantic matte needs.",
            hint=f"Put one into models/background_removal, such as {MODEL_URL}.",
        )
    return str(choices[0])


def _graph(video: str, model: str) -> Graph:
    builder = GraphBuilder()
    loaded = builder.add("GetVideoComponents", video=builder.add("LoadVideo", file=video)[0])
    remover = builder.add("LoadBackgroundRemovalModel", bg_removal_name=model)
    mask = builder.add("RemoveBackground", bg_removal_model=remover[0], image=loaded[0])
    pictures = builder.add("MaskToImage", mask=mask[0])
    builder.add("SaveImage", images=pictures[0], filename_prefix="comfyops-matte")
    return builder.build()


def _is_one_video(shown: Frames) -> bool:
    return len(shown.paths) == 1 and frames.is_video(shown.paths[0])


async def _as_video(shown: Frames, files: InputFiles) -> str:
    pictures = tuple(picture.convert("RGB") for picture in shown)
    return await files.video(pictures, Sizes(fps=shown.fps), fit=False)


def _write(path: Path, shown: Frames, mattes: Iterator[Image.Image]) -> None:
    pictures = [_joined(picture, matte) for picture, matte in zip(shown, mattes, strict=True)]
    write_webp(path, pictures, shown.fps or 24.0)


def _joined(picture: Image.Image, matte: Image.Image) -> Image.Image:
    joined = picture.convert("RGB").convert("RGBA")
    joined.putalpha(matte if matte.size == joined.size else matte.resize(joined.size))
    return joined


def write_webp(path: Path, pictures: list[Image.Image], fps: float) -> None:
    """An animated WebP without loss, colours under full transparency kept.

    Raises StorageError.
    """
    if not pictures:
        raise StorageError(f"{path} cannot be written: there are no frames.")
    options = {"lossless": True, "exact": True, "quality": 20, "method": 0}
    try:
        with writing(path) as file:
            first, rest = pictures[0], pictures[1:]
            first.save(file, "WEBP", save_all=True, append_images=rest, duration=int(1000 / fps), **options)
    except OSError as error:
        raise storage_error(error, path) from error
