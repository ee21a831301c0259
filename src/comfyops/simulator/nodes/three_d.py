"""3D files, drawings (SVG) and model files as outputs: small, valid, and marked as simulated."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping
from typing import Any

from comfyops.simulator.call import NodeCall
from comfyops.simulator.nodes.given import Given
from comfyops.simulator.nodes.places import Place, metadata, place_for
from comfyops.simulator.values import Draws, FileBlob, Thing

_MARK = "Made by the ComfyOps simulator; no model was run."
_FORMATS = {"FBX", "GLTF", "OBJ", "STL", "USDZ", "PLY", "SPLAT", "SPZ", "KSPLAT"}


def file_of(kind: str) -> FileBlob:
    """A 3D file for a type word such as FILE_3D_OBJ: a tetrahedron, as OBJ or PLY where asked for, else GLB."""
    wanted = kind.rsplit("_", 1)[-1]
    if wanted == "OBJ":
        return FileBlob("obj", _obj())
    if wanted in ("PLY", "ANY"):
        return FileBlob("ply", _ply())
    return FileBlob("glb", tetrahedron())


def tetrahedron() -> bytes:
    """A GLB file (glTF 2.0, binary) with one tetrahedron."""
    points = struct.pack("<12f", *(value for point in _POINTS for value in point))
    faces = struct.pack("<12H", *(index for face in _FACES for index in face))
    body = points + faces
    document = {
        "asset": {"version": "2.0", "generator": "ComfyOps simulator", "extras": {"comfyops_simulated": _MARK}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [-1, -1, -1], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5123, "count": 12, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(points)},
            {"buffer": 0, "byteOffset": len(points), "byteLength": len(faces)},
        ],
        "buffers": [{"byteLength": len(body)}],
    }
    head = json.dumps(document, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(head), b"JSON") + head + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


_POINTS = ((1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1))
_FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))


def _obj() -> bytes:
    points = "".join(f"v {x} {y} {z}\n" for x, y, z in _POINTS)
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in _FACES)
    return f"# {_MARK}\n{points}{faces}".encode()


def _ply() -> bytes:
    points = "".join(f"{x} {y} {z}\n" for x, y, z in _POINTS)
    head = "ply\nformat ascii 1.0\ncomment {}\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    return f"{head.format(_MARK)}end_header\n{points}".encode()


def svg_of(digest: str, title: str) -> FileBlob:
    """An SVG of a few circles drawn from a digest."""
    rng = Draws(digest)
    circles = "".join(
        f'<circle cx="{rng.below(512)}" cy="{rng.below(512)}" r="{20 + rng.below(120)}" '
        f'fill="#{rng.below(2**24):06x}" fill-opacity="0.6"/>'
        for _ in range(9)
    )
    text = "".join(char for char in title if char not in "<>&")
    return FileBlob(
        "svg",
        f'<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512" viewBox="0 0 512 512"><desc>{_MARK}</desc>'
        f'{circles}<text x="8" y="504" font-size="12">SIMULATED {text}</text></svg>'.encode(),
    )


def safetensors(notes: Mapping[str, str], tensors: Mapping[str, tuple[int, ...]]) -> bytes:
    """A safetensors file: these notes and tensors of float32 zeros."""
    header: dict[str, Any] = {"__metadata__": dict(notes)}
    offset = 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + bytes(offset)


def output_ui(call: NodeCall, facts: Given, outputs: tuple[Any, ...]) -> dict[str, Any]:
    """What an output node that is not written out elsewhere saves, and reports of it."""
    name = call.node_type.name
    prefix = facts.text("filename_prefix") or f"{name}"
    blob = facts.first(FileBlob)
    if name.startswith("Preview3D") or name.startswith("Preview"):
        return {"result": [_preview_name(call, facts, blob), facts.values.get("camera_info"), None]}
    if "SVG" in name:
        svg = blob or svg_of(facts.digest, name)
        return {"images": [place_for(call, prefix).write(svg.data, "svg")]}
    if any(facts.things(kind) for kind in ("MESH", "SPLAT", "VOXEL")) or blob is not None:
        blob = blob or FileBlob("glb", tetrahedron())
        return {"3d": [place_for(call, prefix).write(blob.data, blob.format)]}
    if facts.first(Thing) is not None:
        place_for(call, prefix).write(safetensors(metadata(call), {"simulated": (1,)}), "safetensors")
    return {}


def _preview_name(call: NodeCall, facts: Given, blob: FileBlob | None) -> str:
    if blob is None:
        return facts.text("model_file")
    place: Place = place_for(call, f"preview3d_{uuid.uuid4().hex}", temporary=True)
    return place.write(blob.data, blob.format)["filename"] + " [temp]"
