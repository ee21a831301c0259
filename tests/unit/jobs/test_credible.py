"""What a preview of a 3D model repeats of its workflow is no output, unless the run made it."""

from __future__ import annotations

from comfyops.backends.events import Output, OutputKind
from comfyops.jobs.credible import credible

GRAPH = {"1": {"class_type": "Preview3D", "inputs": {}}, "2": {"class_type": "SaveGLB", "inputs": {}}}
RANDOM = "preview3d_0123456789abcdef0123456789abcdef.glb"


def model(node: str, name: str, folder: str = "output") -> Output:
    return Output(node, OutputKind.MODEL_3D, name, "", folder)


def test_a_path_that_a_preview_repeats_counts_for_nothing_alone() -> None:
    assert credible([model("1", "a.glb"), model("1", "b.glb", "temp")], GRAPH) == []


def test_a_name_that_nobody_can_know_counts_but_never_an_input() -> None:
    assert credible([model("1", RANDOM), model("1", RANDOM, "input")], GRAPH) == [model("1", RANDOM)]


def test_what_another_node_saved_counts_for_both() -> None:
    outputs = [model("1", "a.glb"), model("2", "a.glb"), model("1", "other.glb")]
    assert credible(outputs, GRAPH) == outputs[:2]


def test_what_other_nodes_tell_of_is_believed() -> None:
    picture = Output("1", OutputKind.IMAGE, "a.png", "", "output")
    outputs = [model("2", "a.glb"), picture, model("9", "of-a-subgraph.glb")]
    assert credible(outputs, GRAPH) == outputs
    assert credible(outputs, None) == outputs
