"""Every class of the shipped node facts runs and gives what it declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall
from comfyops.simulator.nodes import computed_classes, function_for
from comfyops.simulator.nodes.sounds import tune
from comfyops.simulator.values import (
    Audio,
    Conditioning,
    FileBlob,
    Guider,
    Latent,
    Noise,
    Sigmas,
    Thing,
    Video,
    frozen_array,
)
from comfyops.workflows.node_types import AUTOGROW, DYNAMIC_COMBO, InputType, NodeType

from .support import Bench

PICTURE = frozen_array(np.full((1, 64, 64, 3), 0.25))
MASK = frozen_array(np.full((1, 64, 64), 0.75))
VALUES: dict[str, Any] = {
    "IMAGE": PICTURE,
    "MASK": MASK,
    "LATENT": Latent(64, 64),
    "CONDITIONING": Conditioning("a quiet hill"),
    "AUDIO": tune("0" * 64, 0.5),
    "VIDEO": Video(frozen_array(np.zeros((4, 32, 32, 3))), 8.0),
    "SIGMAS": Sigmas((3.0, 1.0, 0.0)),
    "NOISE": Noise(1),
    "GUIDER": Guider(Thing("MODEL", "test"), Conditioning("a quiet hill")),
    "STRING": "some words",
    "INT": 3,
    "FLOAT": 1.5,
    "BOOLEAN": True,
    "SVG": FileBlob("svg", b"<svg/>"),
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": 8, "height": 8},
    "ARRAY": [],
    "COLOR": "#336699",
    "DICT": {},
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "LATENT": Latent,
    "CONDITIONING": Conditioning,
    "AUDIO": Audio,
    "VIDEO": Video,
    "SIGMAS": Sigmas,
    "NOISE": Noise,
    "GUIDER": Guider,
    "STRING": str,
    "INT": int,
    "FLOAT": (int, float),
    "BOOLEAN": bool,
    "SVG": FileBlob,
    "MODEL": Thing,
    "CLIP": Thing,
    "VAE": Thing,
    "CONTROL_NET": Thing,
    "SAMPLER": Thing,
    "BOUNDING_BOX": (dict, list),
    "FILE_3D_GLB": FileBlob,
}
FILES = {"image": "picture.png", "file": "clip.mp4", "video": "clip.mp4", "audio": "sound.flac", "latent": "x.latent"}


def fill(folder: Path) -> None:
    """The files that loading nodes are given."""
    Image.new("RGB", (64, 64), "red").save(folder / "picture.png")
    (folder / "clip.mp4").write_bytes(media.encode_video(VALUES["VIDEO"], "libx264", "mp4", {}))
    (folder / "sound.flac").write_bytes(media.encode_audio(VALUES["AUDIO"], "flac", {}))


def defaults(node_type: NodeType) -> dict[str, Any]:
    """A value for every required input: its default, or a stand-in for a socket; lists where the class wants lists."""
    values: dict[str, Any] = {}
    for item in node_type.inputs:
        if item.required:
            values.update(_values(item, item.name))
    return {name: [value] for name, value in values.items()} if node_type.is_input_list else values


def _values(item: InputType, name: str) -> dict[str, Any]:
    if item.kind == AUTOGROW:
        return _grown(item.options["template"], name)
    if item.kind == DYNAMIC_COMBO:
        option = item.options["options"][0]
        inner = (option["inputs"].get("required") or {}).items()
        chosen = {name: option["key"]}
        for key, spec in inner:
            chosen.update(_values(_declared(key, spec), f"{name}.{key}"))
        return chosen
    if item.name in FILES and (item.choices is not None or item.kind == "COMBO") and not item.options.get("default"):
        return {name: FILES[item.name]}
    if item.is_widget:
        value = item.default
        return {name: VALUES.get(item.kind, "") if value is None else value}
    kind = item.kind.split(",")[0]
    if kind.startswith("COMFY_MATCHTYPE") or kind == "*":
        kind = "IMAGE"
    if kind.startswith("FILE_3D"):
        return {name: FileBlob("glb", b"glTF")}
    return {name: VALUES.get(kind, Thing(kind, "test"))}


def _grown(template: Mapping[str, Any], name: str) -> dict[str, Any]:
    names = template.get("names") or [f"{template['prefix']}0", f"{template['prefix']}1"]
    (_, spec), *_ = (template["input"].get("required") or template["input"].get("optional")).items()
    return {f"{name}.{each}": value for each in names[:2] for value in _values(_declared(each, spec), each).values()}


def _declared(name: str, spec: Any) -> InputType:
    from comfyops.workflows.node_types import input_type

    return input_type(name, spec, True)


def fits(value: Any, kind: str) -> bool:
    """Whether a value is what the type word says."""
    if kind in ("IMAGE", "MASK"):
        return isinstance(value, np.ndarray) and value.ndim == (4 if kind == "IMAGE" else 3)
    return isinstance(value, TYPES.get(kind, object))


def wrong(node_type: NodeType, outputs: tuple[Any, ...]) -> list[str]:
    """What is wrong with these outputs."""
    name = node_type.name
    if len(outputs) != len(node_type.outputs):
        return [f"{name}: {len(outputs)} outputs for {len(node_type.outputs)}"]
    found = []
    for declared, value in zip(node_type.outputs, outputs, strict=True):
        items = value if declared.is_list else [value]
        if declared.is_list and not isinstance(value, list):
            found.append(f"{name}.{declared.name}: {type(value).__name__} is no list")
        elif not all(fits(item, declared.kind) for item in items):
            found.append(f"{name}.{declared.name}: {[type(item).__name__ for item in items]} for {declared.kind}")
    return found


@pytest.mark.parametrize("version", ["0.33.0", "0.8.0"])
async def test_every_class_runs_and_gives_what_it_declares(tmp_path: Path, version: str) -> None:
    bench = Bench(tmp_path, version)
    fill(bench.host.input_folder)
    for each in (bench.host.output_folder,):
        fill(each)
    latent = await bench.run("SaveLatent", samples=Latent(64, 64), filename_prefix="x")
    saved = bench.host.output_folder / latent.ui["latents"][0]["filename"]
    (bench.host.input_folder / "x.latent").write_bytes(saved.read_bytes())
    problems: list[str] = []
    for name, node_type in bench.types.items():
        prompt = {"1": {"class_type": name, "inputs": {}}}
        call = NodeCall("1", node_type, defaults(node_type), bench.host, prompt)
        try:
            result = await function_for(node_type)(call)
        except Exception as error:  # noqa: BLE001 (collected, to name every class that fails)
            problems.append(f"{name}: {type(error).__name__}: {error}")
            continue
        problems += wrong(node_type, result.outputs)
        json.dumps(result.ui)
        assert result.ui is None or all(isinstance(items, list | tuple) for items in result.ui.values()), name
    assert problems == []


def test_most_classes_that_need_no_model_are_computed() -> None:
    assert len(computed_classes()) >= 120
