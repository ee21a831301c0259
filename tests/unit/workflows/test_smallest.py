"""The smallest run of a workflow: small pictures, few frames, two steps, everything else as it was."""

from __future__ import annotations

import pytest

from comfyops.workflows import library, node_types
from comfyops.workflows.embedded import workflows
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.smallest import smallest
from comfyops.workflows.validate import validate

TYPES = node_types.shipped()


def sampler(build: GraphBuilder, latent: Link, **values: object) -> None:
    model = build.add("CheckpointLoaderSimple", ckpt_name="x.safetensors")
    words = build.add("CLIPTextEncode", text="a", clip=model[1])
    given = {"seed": 1, "steps": 30, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    drawn = build.add(
        "KSampler", model=model[0], positive=words[0], negative=words[0], latent_image=latent, **{**given, **values}
    )
    build.add("SaveImage", images=build.add("VAEDecode", samples=drawn[0], vae=model[2])[0], filename_prefix="a/b")


def value(graph: Graph, class_type: str, name: str) -> object:
    (node,) = graph.of_class(class_type)
    return (node.inputs or {})[name]


def test_size_steps_and_batch_become_small_and_files_go_apart() -> None:
    build = GraphBuilder()
    sampler(build, build.add("EmptyLatentImage", width=1344, height=768, batch_size=4)[0])
    found = smallest(build.build(), TYPES)
    empty = [value(found.graph, "EmptyLatentImage", name) for name in ("width", "height", "batch_size")]
    assert empty == [256, 256, 1]
    assert value(found.graph, "KSampler", "steps") == 2 and value(found.graph, "KSampler", "cfg") == 7.0
    assert value(found.graph, "SaveImage", "filename_prefix") == "comfyops-smoke/a/b"
    assert {(item.input, item.before, item.after) for item in found.changes} == {
        ("width", 1344, 256),
        ("height", 768, 256),
        ("batch_size", 4, 1),
        ("steps", 30, 2),
    }


def test_a_picture_that_is_drawn_becomes_small_and_one_that_is_given_a_size_does_not() -> None:
    build = GraphBuilder()
    drawn = build.add("EmptyImage", width=4096, height=1024, batch_size=3, color=255)
    build.add("ImageScale", image=drawn[0], upscale_method="area", width=2048, height=512, crop="disabled")
    found = smallest(build.build(), TYPES).graph
    assert [value(found, "EmptyImage", name) for name in ("width", "height", "batch_size")] == [256, 256, 1]
    assert [value(found, "ImageScale", name) for name in ("width", "height")] == [2048, 512]


def test_what_is_small_already_stays() -> None:
    build = GraphBuilder()
    sampler(build, build.add("EmptyLatentImage", width=64, height=64, batch_size=1)[0], steps=1)
    assert smallest(build.build(), TYPES).changes == ()


def test_frames_keep_to_the_models_lengths() -> None:
    build = GraphBuilder()
    build.add("EmptyHunyuanLatentVideo", width=848, height=480, length=81, batch_size=1)
    build.add("EmptyLTXVLatentVideo", width=768, height=512, length=97, batch_size=1)
    found = smallest(build.build(), TYPES).graph
    assert value(found, "EmptyHunyuanLatentVideo", "length") == 5
    assert value(found, "EmptyLTXVLatentVideo", "length") == 9


def test_a_number_that_comes_from_another_node_is_changed_there() -> None:
    build = GraphBuilder()
    width = build.add("PrimitiveInt", value=1024)
    build.add("EmptyLatentImage", width=width[0], height=width[0], batch_size=1)
    found = smallest(build.build(), TYPES)
    assert value(found.graph, "PrimitiveInt", "value") == 256 and len(found.changes) == 1


def test_a_number_that_is_computed_is_replaced() -> None:
    build = GraphBuilder()
    sizes = build.add("GetImageSize", image=build.add("LoadImage", image="x.png")[0])
    build.add("EmptyLatentImage", width=sizes[0], height=sizes[1], batch_size=1)
    found = smallest(build.build(), TYPES)
    assert [value(found.graph, "EmptyLatentImage", name) for name in ("width", "height")] == [256, 256]
    assert [item.before for item in found.changes] == [None, None]


def test_samplers_that_share_the_steps_keep_their_parts() -> None:
    build = GraphBuilder()
    latent = build.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    given = {"add_noise": "enable", "noise_seed": 1, "steps": 20, "cfg": 3.5, "return_with_leftover_noise": "enable"}
    build.add("KSamplerAdvanced", **given, start_at_step=0, end_at_step=10, latent_image=latent[0])
    build.add("KSamplerAdvanced", **given, start_at_step=10, end_at_step=10000, latent_image=latent[0])
    first, second = smallest(build.build(), TYPES).graph.of_class("KSamplerAdvanced")
    parts = [
        [(node.inputs or {})[name] for name in ("steps", "start_at_step", "end_at_step")] for node in (first, second)
    ]
    assert parts == [[2, 0, 1], [2, 1, 10000]]


@pytest.mark.parametrize("name", ["image_qwen_image", "video_wan2_2_14B_t2v", "flux_schnell", "image_flux2"])
def test_official_templates_are_as_valid_as_before(name: str) -> None:
    pytest.importorskip("comfyui_workflow_templates_json")
    graph = workflows(library.read(library.Library().get(name)), name).graph(TYPES)
    found = smallest(graph, TYPES)
    assert found.changes and len(found.graph) == len(graph)
    serious = {(item.node, item.code) for item in validate(graph, TYPES) if item.severity != "warning"}
    assert {(item.node, item.code) for item in validate(found.graph, TYPES) if item.severity != "warning"} <= serious
    steps = [(node.inputs or {})["steps"] for node in found.graph if "steps" in (node.inputs or {})]
    assert all(type(item) is Link or item == 2 for item in steps)  # type: ignore[operator]
