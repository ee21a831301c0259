"""Values for inputs, made ready for a server: local files are uploaded, masks joined with their pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from comfyops.backends.backend import Backend
from comfyops.backends.events import Output, OutputKind
from comfyops.errors import InvalidValueError
from comfyops.support.files import read_bytes
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import Encoding, WorkflowInput, apply, resolve, values
from comfyops.workflows.inputs.tracing import Place
from comfyops.workflows.node_types import NodeTypes

_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload")


async def fill(
    backend: Backend, graph: Graph, inputs: Iterable[WorkflowInput], given: Mapping[str, object], types: NodeTypes
) -> Graph:
    """The graph with these values set on a server.

    For inputs that load files a value that is a local file is uploaded, any other is a name on the server. Raises
    UnknownInputError, InvalidValueError, MissingFileError, BackendErrors.
    """
    found = tuple(inputs)
    ready: dict[str, object] = {}
    masks: dict[WorkflowInput, object] = {}
    for name, value in given.items():
        item = resolve(graph, found, name)
        if isinstance(item, WorkflowInput) and item.encoding is Encoding.ALPHA:
            masks[item] = value
        elif _takes_file(item, graph, types) and Path(str(value)).is_file():
            ready[name] = await _upload(backend, Path(str(value)))
        else:
            ready[name] = value
    filled = apply(graph, found, ready, types)
    for item, value in masks.items():
        filled = await _masked(backend, filled, item, Path(str(value)))
    return filled


def _takes_file(item: WorkflowInput | tuple[Place, ...], graph: Graph, types: NodeTypes) -> bool:
    if isinstance(item, WorkflowInput):
        return item.encoding is Encoding.UPLOAD
    declared = values.declared(item[0], graph, types)
    return declared is not None and any(declared.options.get(key) for key in _UPLOADS)


async def _upload(backend: Backend, path: Path) -> str:
    return await backend.upload_image(path.name, read_bytes(path))


async def _masked(backend: Backend, graph: Graph, item: WorkflowInput, path: Path) -> Graph:
    """The graph whose picture carries this mask, white where the workflow shall work."""
    for place in item.targets:
        picture = (graph[place.node].inputs or {}).get(place.input)
        if not isinstance(picture, str) or not picture:
            raise InvalidValueError(f"{item.name} needs the picture that it masks: set that too.", name=item.name)
        folder, _, name = picture.removesuffix(" [input]").rpartition("/")
        original = Output(place.node, OutputKind.IMAGE, name, folder, "input")
        mask = await asyncio.to_thread(_alpha, read_bytes(path), await backend.fetch(original), path)
        stored = await backend.upload_mask(f"masked-{path.stem}.png", mask, original)
        graph = graph.with_input(place.node, place.input, stored)
    return graph


def _alpha(mask: bytes, picture: bytes, path: Path) -> bytes:
    """A PNG of the picture's size whose alpha channel is the mask: clear where the mask is white.

    Raises InvalidValueError for a file that is no picture.
    """
    try:
        with Image.open(BytesIO(mask)) as shape, Image.open(BytesIO(picture)) as under:
            size = ImageOps.exif_transpose(under).size
            white = shape.convert("L").resize(size, Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidValueError(f"{path} cannot be laid over the picture: {error}.", name=str(path)) from error
    made = Image.new("RGBA", size)
    made.putalpha(ImageOps.invert(white))
    data = BytesIO()
    made.save(data, "PNG")
    return data.getvalue()
