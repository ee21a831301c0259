"""/object_info and other facts about nodes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.workflows.replacements import REPLACEMENTS, Replacement

_WIDGETS = {
    "ResizeImagesByLongerEdge": ["longer_edge"],
    "ImageScaleBy": ["upscale_method", "scale_by"],
}
_KEEPS_SLOT = "ResizeImagesByLongerEdge"  # the one replacement that maps its output


async def get_all(request: web.Request) -> web.Response:
    """The facts of every node class."""
    return json_answer(machine(request).facts.object_info())


async def get_one(request: web.Request) -> web.Response:
    """The facts of one class; {} for an unknown one."""
    name = request.match_info["node_class"]
    return json_answer(machine(request).facts.object_info(name))


async def get_replacements(request: web.Request) -> web.Response:
    """Old classes and what the server puts in their place."""
    return json_answer({name: [_replacement(name, new)] for name, new in REPLACEMENTS.items()})


async def get_nothing(request: web.Request) -> web.Response:
    """No custom nodes, so no texts, templates or subgraphs of theirs."""
    return json_answer({})


async def get_extensions(request: web.Request) -> web.Response:
    """Scripts that the page loads at start; there are none."""
    return json_answer([])


def _replacement(name: str, new: Replacement) -> dict[str, Any]:
    inputs: list[dict[str, Any]] = [{"new_id": to, "old_id": old} for to, old in new.inputs.items()]
    inputs += [{"new_id": to, "set_value": value} for to, value in new.values.items()]
    return {
        "new_node_id": new.class_type,
        "old_node_id": name,
        "old_widget_ids": _WIDGETS.get(name),
        "input_mapping": inputs or None,
        "output_mapping": [{"new_idx": 0, "old_idx": 0}] if name == _KEEPS_SLOT else None,
    }


ROUTES = [
    web.get("/object_info", get_all),
    web.get("/object_info/{node_class}", get_one),
    web.get("/extensions", get_extensions),
    web.get("/i18n", get_nothing),
    web.get("/workflow_templates", get_nothing),
    web.get("/global_subgraphs", get_nothing),
]
MODERN_ROUTES = [web.get("/node_replacements", get_replacements)]
