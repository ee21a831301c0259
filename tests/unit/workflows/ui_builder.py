"""Small workflows in UI format, for tests."""

from __future__ import annotations

from typing import Any


def node(number: int | str, kind: str, values: Any = None, **fields: Any) -> dict[str, Any]:
    """A node; `inputs` and `outputs` may be given as lists of (name, type, link)."""
    slots = [slot(*item) for item in fields.pop("inputs", ())]
    outputs = [{"name": name, "type": kind} for name, kind in fields.pop("outputs", ())]
    data = {"id": number, "type": kind, "mode": 0, "inputs": slots, "outputs": outputs, **fields}
    return data if values is None else {**data, "widgets_values": values}


def slot(name: str, kind: str, link: Any = None, widget: bool = False) -> dict[str, Any]:
    """An input slot."""
    data: dict[str, Any] = {"name": name, "type": kind, "link": link}
    return {**data, "widget": {"name": name}} if widget else data


def workflow(nodes: list[Any], links: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A workflow of format 0.4."""
    return {"nodes": nodes, "links": links or [], "version": 0.4, **fields}


def subgraph(key: str, nodes: list[Any], links: list[Any], **fields: Any) -> dict[str, Any]:
    """The definition of a subgraph; `inputs` and `outputs` are (name, type, ids of links)."""
    ports = {
        side: [{"name": name, "type": kind, "linkIds": ids} for name, kind, ids in fields.get(side, ())]
        for side in ("inputs", "outputs")
    }
    return {"id": key, "name": key, "nodes": nodes, "links": links, **ports}


def link(number: int, origin: int, origin_slot: int, target: int, target_slot: int, kind: str) -> dict[str, Any]:
    """A link as objects, as inside subgraphs."""
    return {
        "id": number,
        "origin_id": origin,
        "origin_slot": origin_slot,
        "target_id": target,
        "target_slot": target_slot,
        "type": kind,
    }


def picture_chain(**middle: Any) -> dict[str, Any]:
    """An empty picture (1), inverted (2), saved (3); `middle` changes the node in the middle."""
    empty = node(1, "EmptyImage", [64, 32, 1, 255], outputs=[("IMAGE", "IMAGE")])
    invert = node(2, "ImageInvert", inputs=[("image", "IMAGE", 1)], outputs=[("IMAGE", "IMAGE")])
    save = node(3, "SaveImage", ["x"], inputs=[("images", "IMAGE", 2)])
    return workflow([empty, {**invert, **middle}, save], [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]])
