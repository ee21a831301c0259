"""What the editor's 3D views send: where the camera stands.

The pictures that Load3D sends are drawn by the editor; they stay empty here. Source: the official editor 1.49, whose
camera is that of three.js: it circles its target, and is moved onto its circle when it is set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

Vector: TypeAlias = tuple[float, float, float]

_START: Vector = (10.0, 10.0, 10.0)
_ORIGIN: Vector = (0.0, 0.0, 0.0)
_FIELD_OF_VIEW = 35


def state(properties: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The view of a node with these saved properties and values of fields, without pictures."""
    return {
        "image": "",
        "mask": "",
        "normal": "",
        "camera_info": _camera(_mapping(properties.get("Camera Config")), _aspect(values)),
        "recording": "",
        "model_3d_info": [],
    }


def _aspect(values: Mapping[str, Any]) -> float:
    width, height = values.get("width"), values.get("height")
    sizes = [size for size in (width, height) if isinstance(size, int | float) and 0 < size < 1e9]
    return sizes[0] / sizes[1] if len(sizes) == 2 else 1


def _camera(config: Mapping[str, Any], aspect: float) -> dict[str, Any]:
    saved = _mapping(config.get("state"))
    target = _vector(saved.get("target"), _ORIGIN)
    place = _on_circle(_vector(saved.get("position"), _START), target)
    turn = _looking(place, target)
    return {
        "position": dict(zip("xyz", place, strict=True)),
        "target": dict(zip("xyz", target, strict=True)),
        "zoom": saved.get("zoom", 1),
        "cameraType": saved.get("cameraType") or config.get("cameraType") or "perspective",
        "quaternion": dict(zip("xyzw", turn, strict=True)),
        "fov": config.get("fov", _FIELD_OF_VIEW),
        "aspect": aspect,
        "near": 0.01,
        "far": 10000,
        "frustum": {"left": -5, "right": 5, "top": 5, "bottom": -5},
    }


def _on_circle(place: Vector, target: Vector) -> Vector:
    """The place after a way through spherical coordinates around the target, which rounds it."""
    x, y, z = (place[at] - target[at] for at in range(3))
    radius = math.sqrt(x * x + y * y + z * z)
    if radius == 0:
        return place
    around, down = math.atan2(x, z), math.acos(max(-1.0, min(1.0, y / radius)))
    flat = math.sin(down) * radius
    moved = (flat * math.sin(around), math.cos(down) * radius, flat * math.cos(around))
    return (target[0] + moved[0], target[1] + moved[1], target[2] + moved[2])


def _looking(place: Vector, target: Vector) -> tuple[float, float, float, float]:
    """The turn (a quaternion) of a camera that stands at a place and looks at the target, upright."""
    back = _unit((place[0] - target[0], place[1] - target[1], place[2] - target[2]))
    side = _unit(_cross((0.0, 1.0, 0.0), back))
    up = _cross(back, side)
    trace = side[0] + up[1] + back[2]
    if trace > 0:
        part = 0.5 / math.sqrt(trace + 1.0)
        return (up[2] - back[1]) * part, (back[0] - side[2]) * part, (side[1] - up[0]) * part, 0.25 / part
    if side[0] > up[1] and side[0] > back[2]:
        part = 2.0 * math.sqrt(1.0 + side[0] - up[1] - back[2])
        return 0.25 * part, (up[0] + side[1]) / part, (back[0] + side[2]) / part, (up[2] - back[1]) / part
    if up[1] > back[2]:
        part = 2.0 * math.sqrt(1.0 + up[1] - side[0] - back[2])
        return (up[0] + side[1]) / part, 0.25 * part, (back[1] + up[2]) / part, (back[0] - side[2]) / part
    part = 2.0 * math.sqrt(1.0 + back[2] - side[0] - up[1])
    return (back[0] + side[2]) / part, (back[1] + up[2]) / part, 0.25 * part, (side[1] - up[0]) / part


def _unit(vector: Vector) -> Vector:
    part = 1 / (math.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2) or 1.0)
    return (vector[0] * part, vector[1] * part, vector[2] * part)


def _cross(one: Vector, other: Vector) -> Vector:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


def _vector(value: Any, otherwise: Vector) -> Vector:
    parts = [_mapping(value).get(axis) for axis in "xyz"]
    numbers = [float(part) for part in parts if isinstance(part, int | float) and abs(part) < 1e12]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else otherwise


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
