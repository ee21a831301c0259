"""Recipes made from official templates: the template as the editor would send it, with our values at its pins.

The templates themselves come with the extra `templates` and are not part of ComfyOps.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module, resources
from typing import Any

from comfyops.errors import MissingExtraError
from comfyops.workflows.convert import to_api
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import shaping
from comfyops.workflows.recipes.recipe import Make, Values
from comfyops.workflows.recipes.shaping import Pin

PACKAGE = "comfyui_workflow_templates_json"
"""What the extra `templates` installs."""

Pins = Mapping[str, tuple[Pin, ...]]

_SAVERS = ("SaveImage", "SaveImageAdvanced", "SaveVideo", "SaveAnimatedWEBP", "SaveAudioAdvanced", "SaveGLB")


@cache
def read(name: str) -> dict[str, Any]:
    """An official template in UI format; the same object every time, not to be changed.

    Raises MissingExtraError where the templates, or this one of them, are not installed.
    """
    try:
        folder = resources.files(import_module(PACKAGE)).joinpath("templates")
        data: dict[str, Any] = json.loads(folder.joinpath(f"{name}.json").read_bytes())
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The official template {name} is not installed.",
            hint="Install the official templates with: pip install 'comfyops[templates]'",
            template=name,
        ) from error
    except FileNotFoundError as error:
        raise MissingExtraError(
            f"The installed official templates hold no {name}.",
            hint="Update them with: pip install --upgrade 'comfyops[templates]'",
            template=name,
        ) from error
    return data


def urls(name: str) -> Mapping[str, str]:
    """Where the model files of a template come from, by file name, as the template says; empty where not installed."""
    try:
        found: dict[str, str] = {}
        _collect(read(name), found)
        return found
    except MissingExtraError:
        return {}


def _collect(data: Any, found: dict[str, str]) -> None:
    if isinstance(data, dict):
        models = data.get("models")
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and isinstance(model.get("url"), str):
                found[str(model.get("name"))] = model["url"].removesuffix("?download=true")
        for item in data.values():
            _collect(item, found)
    elif isinstance(data, list):
        for item in data:
            _collect(item, found)


def made_from(
    template: str,
    pins: Pins,
    *,
    fast: bool = False,
    enable: Sequence[int] = (),
    saver: str = "",
    constants: Sequence[tuple[Pin, Any]] = (),
) -> Make:
    """How to build a recipe's graph from a template.

    `pins` says where values go, `fast` sets the template's own switches, `enable` turns bypassed nodes on by their ids,
    `saver` is the id of the node that saves the result where there are several, `constants` are values of our own.
    """

    def make(values: Values, types: NodeTypes) -> Graph:
        graph = shaping.folded(to_api(_enabled(template, enable), types).graph, switches=fast)
        for pin, constant in constants:
            graph = shaping.put(graph, pin, constant, types)
        for name, value in _given(values):
            for pin in pins.get(name, ()):
                graph = shaping.put(graph, pin, value, types)
        savers = [node.id for node in graph.of_class(*_SAVERS) if saver in ("", node.id)]
        graph = shaping.only(shaping.with_loras(graph, values.loras), savers)
        for key in savers:
            graph = graph.with_input(key, "filename_prefix", values.prefix)
        return graph

    return make


def _given(values: Values) -> list[tuple[str, Any]]:
    """(name, value) of each value that is set; pictures are `image1`, `image2`, ..."""
    names = ("prompt", "negative", "seed", "width", "height", "frames", "fps", "steps", "cfg", "strength", "layers")
    pairs = [(name, getattr(values, name)) for name in (*names, "seconds")]
    pairs += [(f"image{number}", name) for number, name in enumerate(values.images, 1)]
    pairs += [("video", values.video or None), ("mask", values.mask or None)]
    if values.steps is not None:
        pairs.append(("split", values.steps // 2))
    return [(name, value) for name, value in pairs if value is not None]


def _enabled(template: str, enable: Sequence[int]) -> dict[str, Any]:
    ui = read(template)
    if not enable:
        return ui
    changed = copy.deepcopy(ui)
    for node in changed["nodes"]:
        if node.get("id") in enable:
            node["mode"] = 0
    return changed
