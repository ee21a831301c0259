"""Workflows damaged by chance: what properties of repairs are tried on."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from hypothesis import strategies as st

from comfyops.workflows import api_format
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.validate import report
from tests.conformance.test_validation_verdicts import recorded_types, rows
from tests.unit.workflows.builders import chain, sd15

ODD: tuple[Any, ...] = (
    None, "", "nonsense", -1, 10**20, 1.5, True, [], ["1"], ["99999", 0], ["4", 57], [4, 0], ["4", "0"], ["4", 0, 0],
    {"a": 1}, "20.0", "EULER",
)  # fmt: skip


@cache
def types() -> NodeTypes:
    """Node types with lists of files."""
    return recorded_types("0.33.0")


@cache
def recorded() -> tuple[dict[str, Any], ...]:
    """Recorded graphs, official ones and damaged ones, of at most 40 nodes."""
    return tuple(row["graph"] for row in rows("0.33.0") if len(row["graph"]) <= 40)


@cache
def valid() -> tuple[dict[str, Any], ...]:
    """Those that a server takes whole."""
    found = [*recorded(), sd15(n4_ckpt_name=checkpoint()), chain(8)]
    return tuple(graph for graph in found if report(api_format.parse(graph), types()).valid)


def checkpoint() -> str:
    """A checkpoint that the recording server had."""
    item = types()["CheckpointLoaderSimple"].input("ckpt_name")
    assert item is not None and item.choices
    return str(item.choices[0])


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A valid workflow after up to four accidents."""
    graph = copy.deepcopy(draw(st.sampled_from(valid())))
    for _ in range(draw(st.integers(0, 4))):
        _accident(draw, graph)
    return graph


def _accident(draw: st.DrawFn, graph: dict[str, Any]) -> None:
    key = draw(st.sampled_from(sorted(graph)))
    node = graph[key]
    inputs = node.get("inputs")
    what = draw(st.sampled_from(["value", "drop", "rename", "link", "node", "class", "no class", "no inputs"]))
    if what == "node" and len(graph) > 1:
        del graph[key]
    elif what == "class":
        node["class_type"] = draw(
            st.sampled_from(["NoSuchNode", "ksampler", "T2IAdapterLoader", "ImageBatch", "VAEDecode"])
        )
    elif what == "no class":
        node.pop("class_type", None)
    elif what == "no inputs":
        node.pop("inputs", None)
    elif inputs:
        name = draw(st.sampled_from(sorted(inputs)))
        if what == "value":
            inputs[name] = draw(st.sampled_from(ODD))
        elif what == "link":
            inputs[name] = [draw(st.sampled_from(sorted(graph))), draw(st.integers(-1, 3))]
        else:
            value = inputs.pop(name)
            if what == "rename":
                inputs[draw(st.sampled_from([name.upper(), name[:-1], "other"]))] = value
