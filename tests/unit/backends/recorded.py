"""Recordings of real servers, and binary frames as those servers make them."""

import gzip
import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VERSIONS = ("0.33.0", "0.8.0")
both_versions = pytest.mark.parametrize("version", VERSIONS)
_FOLDER = Path(__file__).parents[2] / "data" / "recordings"


@cache
def _all(version: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((_FOLDER / f"{version}.json.gz").read_bytes()))


def recorded(version: str, name: str) -> Any:
    """One recording by the name of its file."""
    return _all(version)[name]


def text_frames(messages: list[dict[str, Any]]) -> list[str]:
    """Recorded messages as text frames."""
    return [json.dumps({"type": m["type"], "data": m["data"]}) for m in messages if "data" in m]


def plain_preview(picture: bytes, image_format: int = 1) -> bytes:
    return struct.pack(">II", 1, image_format) + picture


def signed_preview(run_id: str, node: str, picture: bytes, mime_type: str = "image/jpeg") -> bytes:
    head = json.dumps({"node_id": node, "prompt_id": run_id, "image_type": mime_type}).encode()
    return struct.pack(">II", 4, len(head)) + head + picture


def text_frame(node: str, text: str) -> bytes:
    return struct.pack(">II", 3, len(node.encode())) + node.encode() + text.encode()
