"""Results of a run: what they are, told from where they stand, and where they may be written.

ComfyUI names results by key ("images", "audio", "3d", "gifs", ...), but the key says little: "images" may hold a video.
So the file's name decides, and the key only where the name says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from comfyops.backends.events import Output, OutputKind
from comfyops.errors import UnsafeNameError
from comfyops.support.files import safe_path

_SUFFIXES = {
    OutputKind.IMAGE: "png jpg jpeg webp gif apng bmp tif tiff exr hdr avif heic svg psd",
    OutputKind.VIDEO: "mp4 webm mkv mov avi m4v mpg mpeg ogv",
    OutputKind.AUDIO: "flac mp3 wav opus ogg m4a aac",
    OutputKind.TEXT: "txt md json csv srt vtt yaml",
    OutputKind.LATENT: "latent",
    OutputKind.MODEL_3D: "glb gltf obj fbx usdz stl ply splat ksplat spz",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_KIND_OF_KEY = {
    "images": OutputKind.IMAGE,
    "gifs": OutputKind.VIDEO,
    "video": OutputKind.VIDEO,
    "videos": OutputKind.VIDEO,
    "audio": OutputKind.AUDIO,
    "text": OutputKind.TEXT,
    "latents": OutputKind.LATENT,
    "3d": OutputKind.MODEL_3D,
    "model_file": OutputKind.MODEL_3D,
}
ECHOED = frozenset({"result", "histogram", "input_bboxes", "compositor_bboxes"})
"""Keys under which ComfyUI's nodes show what they were given, such as a camera: that is never a file, though whoever
wrote the workflow may have made it look like one."""

_ANNOTATED = re.compile(r"(.*?) ?\[(output|input|temp)\]$", re.DOTALL)
_ODD_CHARS = re.compile(r"[^\w .()+,=@%#!~-]")


def outputs_of_node(node: str, ui: object) -> Iterator[Output]:
    """The outputs in what one node reported, `{key: [items]}`; what is no file and no text is left out.

    A preview of a 3D model names whatever file its workflow names.
    """
    if not isinstance(ui, Mapping):
        return
    for key, items in ui.items():
        for item in _told(key, items if isinstance(items, list | tuple) else [items]):
            output = _output(node, str(key), item)
            if output is not None:
                yield output


def kind_of(key: str, filename: str) -> OutputKind:
    """What a file is, by its name, else by the key it stands under."""
    suffix = filename.rpartition(".")[2].lower()
    return _KIND_OF_SUFFIX.get(suffix) or _KIND_OF_KEY.get(key, OutputKind.OTHER)


def local_path(folder: Path, output: Output) -> Path:
    """Where to write an output below `folder`, with the server's subfolder and name (a text gets a name of its own).

    Raises UnsafeNameError for a name that would leave the folder.
    """
    name = output.filename or local_name(output)
    for part in (output.subfolder, name):
        if part.startswith("/"):
            raise UnsafeNameError(f"The name {part[:120]!r} is not safe as a file name.", name=part)
    return safe_path(folder, output.subfolder, name)


def local_name(output: Output) -> str:
    """A plain file name for an output that is safe on every system, whatever the server calls it; never empty."""
    raw = output.filename.replace("\\", "/").rpartition("/")[2]
    name = _ODD_CHARS.sub("_", raw).strip(". ")
    stem, _, suffix = name.rpartition(".") if "." in name else (name, "", "")
    stem = _cut(stem, 120) or "node-" + _cut(_ODD_CHARS.sub("_", output.node), 40)
    suffix = _cut(suffix, 20) or ("txt" if output.kind is OutputKind.TEXT else "")
    name = f"{stem}.{suffix}" if suffix else stem
    try:
        return safe_path(Path(), name).name
    except UnsafeNameError:  # a name that Windows keeps for itself
        return f"_{name}"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore").strip(" ")


def _told(key: Any, items: Sequence[Any]) -> Sequence[Any]:
    """What may be a file or a text of the node's own: of what a 3D node shows the first, its model."""
    if key not in ECHOED:
        return items
    return [item for item in items[:1] if key == "result" and isinstance(item, str)]


def _output(node: str, key: str, item: Any) -> Output | None:
    if isinstance(item, Mapping):
        return _file(node, key, item)
    if not isinstance(item, str):
        return None
    if key == "text":
        return Output(
            node, OutputKind.TEXT, folder_type="", text=item.replace("\0", "\ufffd")
        )  # PostgreSQL holds no NUL
    name, folder = _split_annotation(item)
    if kind_of("", name) is OutputKind.MODEL_3D or (key in ("3d", "model_file") and name):
        subfolder, _, filename = name.replace("\\", "/").rpartition("/")
        return Output(node, OutputKind.MODEL_3D, filename, subfolder, folder)
    return None


def _file(node: str, key: str, item: Mapping[str, Any]) -> Output | None:
    name = item.get("filename")
    if not isinstance(name, str) or not name:
        return None
    subfolder, folder = item.get("subfolder"), item.get("type")
    return Output(
        node,
        kind_of(key, name),
        name,
        subfolder if isinstance(subfolder, str) else "",
        folder if isinstance(folder, str) and folder else "output",
    )


def _split_annotation(name: str) -> tuple[str, str]:
    """("mesh/a.glb", "temp") of "mesh/a.glb [temp]"; plain names are in the output folder."""
    match = _ANNOTATED.match(name)
    return (match[1], match[2]) if match else (name, "output")
