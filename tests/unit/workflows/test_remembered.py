"""A graph whose every node a server would write down again and again is told before it is sent."""

from __future__ import annotations

from typing import Any

from comfyops.workflows import api_format
from comfyops.workflows.checks.dangers import dangers


def chain(length: int, inputs: int, **more: Any) -> dict[str, Any]:
    nodes: dict[str, Any] = {"n0": {"class_type": "EmptyImage", "inputs": {}}}
    for number in range(1, length):
        given = {f"x{key}": key for key in range(inputs)}
        nodes[f"n{number}"] = {"class_type": "ImageInvert", "inputs": {"image": [f"n{number - 1}", 0], **given, **more}}
    return nodes


def codes(nodes: dict[str, Any]) -> list[str]:
    return [danger.code for danger in dangers(api_format.parse(nodes))]


def test_long_chains_of_nodes_with_many_inputs_are_a_danger() -> None:
    assert codes(chain(300, 100)) == ["remembers_too_much"]
    assert codes(chain(60, 1, points=[[1, 2]] * 1000)) == ["remembers_too_much"]


def test_long_chains_of_plain_nodes_and_many_nodes_side_by_side_are_none() -> None:
    assert codes(chain(880, 1)) == []
    beside = {f"n{key}": {"class_type": "EmptyImage", "inputs": {f"x{i}": i for i in range(20)}} for key in range(4000)}
    assert codes(beside) == []


def test_what_many_nodes_need_in_turn_is_counted_once_for_each() -> None:
    lattice: dict[str, Any] = {}
    for row in range(30):
        for column in range(30):
            links = {f"i{key}": [f"{row - 1}-{key}", 0] for key in range(30)} if row else {}
            lattice[f"{row}-{column}"] = {"class_type": "ImageInvert", "inputs": links}
    assert codes(lattice) == ["remembers_too_much"]
