"""Texts in the other files that ComfyUI saves: GLB scenes, safetensors (latents, checkpoints), SVG drawings.

Source: the glTF 2.0 and safetensors formats, and what ComfyUI's saving nodes write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MAX_HEADER = 100_000_000


def is_glb(data: bytes) -> bool:
    """Whether the bytes begin as a binary glTF scene."""
    return data[:4] == b"glTF"


def is_safetensors(data: bytes) -> bool:
    """Whether the bytes begin as a safetensors file: the length of a JSON object, then that object."""
    return data[8:9] == b"{" and 2 <= int.from_bytes(data[:8], "little") <= _MAX_HEADER


def is_svg(data: bytes) -> bool:
    """Whether the bytes begin as an SVG drawing."""
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head)


def glb_texts(data: bytes) -> dict[str, str]:
    """The extra texts of the scene's asset. Raises ValueError where the file is damaged."""
    size = int.from_bytes(data[12:16], "little")
    if data[16:20] != b"JSON" or len(data) < 20 + size:
        raise ValueError("the scene is cut short")
    asset = _object(data[20 : 20 + size]).get("asset")
    return _texts(asset.get("extras") if isinstance(asset, dict) else None)


def safetensors_texts(data: bytes) -> dict[str, str]:
    """The metadata of the header. Raises ValueError where the file is damaged."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 + size:
        raise ValueError("its header is cut short")
    return _texts(_object(data[8 : 8 + size]).get("__metadata__"))


def svg_texts(data: bytes) -> dict[str, str]:
    """The texts of the drawing's metadata element. Raises ValueError where it is damaged."""
    _, metadata, rest = data.partition(b"<metadata")
    _, start, rest = rest.partition(b"<![CDATA[")
    text, end, _ = rest.partition(b"]]>")
    return _texts(_object(text)) if metadata and start and end else {}


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its metadata is not JSON") from error
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    """Texts by key; values that are JSON themselves become texts again."""
    if not isinstance(value, dict):
        return {}
    return {key: item if isinstance(item, str) else json.dumps(item) for key, item in value.items()}
