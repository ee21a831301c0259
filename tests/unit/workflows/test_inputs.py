"""Named inputs: found from structure, described as JSON Schema, set with checks, pinned by a file."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comfyops.errors import InvalidValueError, UnknownInputError, WorkflowFormatError
from comfyops.support import yaml_text
from comfyops.workflows import api_format, inputs
from comfyops.workflows.graph import Graph, GraphBuilder
from comfyops.workflows.inputs import Encoding, InputKind, WorkflowInput, pins
from comfyops.workflows.node_types import shipped
from tests.unit.workflows.builders import sd15

TYPES = shipped("0.33.0")


def found(graph: Graph) -> dict[str, WorkflowInput]:
    return {item.name: item for item in inputs.find(graph, TYPES)}


def targets(item: WorkflowInput) -> list[str]:
    return [f"{place.node}.{place.input}" for place in item.targets]


def graph(**changes: Any) -> Graph:
    return api_format.parse(sd15(**changes))


def test_roles_follow_the_links_of_a_simple_graph() -> None:
    named = found(graph())
    assert {name: targets(item) for name, item in named.items()} == {
        "prompt": ["6.text"],
        "negative_prompt": ["7.text"],
        "width": ["5.width"],
        "height": ["5.height"],
        "batch_size": ["5.batch_size"],
        "seed": ["3.seed"],
        "steps": ["3.steps"],
        "cfg": ["3.cfg"],
        "denoise": ["3.denoise"],
        "sampler": ["3.sampler_name"],
        "scheduler": ["3.scheduler"],
        "checkpoint": ["4.ckpt_name"],
        "filename_prefix": ["9.filename_prefix"],
    }
    assert (named["steps"].kind, named["steps"].minimum, named["steps"].maximum) == (InputKind.INTEGER, 1, 10000)
    assert named["checkpoint"].kind is InputKind.MODEL and named["checkpoint"].folder == "checkpoints"
    assert named["sampler"].choices is not None and "euler" in named["sampler"].choices


def test_names_do_not_depend_on_the_order_of_nodes() -> None:
    data = sd15()
    turned = api_format.parse(dict(reversed(data.items())))
    assert inputs.find(turned, TYPES) == inputs.find(api_format.parse(data), TYPES)


def test_positive_and_negative_are_told_apart_through_controlnet_and_swapped_titles() -> None:
    build = GraphBuilder()
    model = build.add("CheckpointLoaderSimple", ckpt_name="x.safetensors")
    bad = build.add("CLIPTextEncode", "Positive Prompt", text="bad", clip=model[1])
    good = build.add("CLIPTextEncode", "Negative Prompt", text="good", clip=model[1])
    picture = build.add("LoadImage", image="pose.png")
    net = build.add("ControlNetLoader", control_net_name="n.safetensors")
    steered = build.add(
        "ControlNetApplyAdvanced",
        positive=good[0], negative=bad[0], control_net=net[0], image=picture[0],
        strength=0.8, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    empty = build.add("EmptyLatentImage", width=64, height=32, batch_size=1)
    build.add(
        "KSampler",
        model=model[0], positive=steered[0], negative=steered[1], latent_image=empty[0],
        seed=1, steps=2, cfg=3.0, sampler_name="euler", scheduler="normal", denoise=1.0,
    )  # fmt: skip
    named = found(build.build())
    assert (named["prompt"].default, named["negative_prompt"].default) == ("good", "bad")
    assert targets(named["controlnet_strength"]) == ["6.strength"]
    assert named["image"].encoding is Encoding.UPLOAD and named["image"].required


def test_a_zeroed_negative_is_no_input() -> None:
    data = sd15()
    data["10"] = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}}
    data["3"]["inputs"]["negative"] = ["10", 0]
    del data["7"]
    named = found(api_format.parse(data))
    assert named["prompt"].default == "a lighthouse" and "negative_prompt" not in named


def test_a_primitive_that_feeds_several_nodes_is_one_input_with_the_range_of_all() -> None:
    build = GraphBuilder()
    frames = build.add("PrimitiveInt", "Length", value=81)
    build.add("EmptyHunyuanLatentVideo", width=64, height=64, length=frames[0], batch_size=1)
    build.add("EmptyLTXVLatentVideo", width=64, height=64, length=frames[0], batch_size=1)
    named = found(build.build())
    assert targets(named["frames"]) == ["1.value"] and named["frames"].minimum == 1
    assert "length" in named["frames"].aliases
    assert targets(named["width"]) == ["2.width", "3.width"]


def test_numbers_that_others_are_computed_from_are_named_by_title_and_switches_by_the_side_that_is_on() -> None:
    build = GraphBuilder()
    duration = build.add("PrimitiveFloat", "Float (Duration)", value=5.0)
    rate = build.add("PrimitiveInt", "FPS", value=24)
    length = build.add("ComfyMathExpression", expression="a*b+1", **{"values.a": duration[0], "values.b": rate[0]})
    fast = build.add("PrimitiveBoolean", "Enable Lightning LoRA?", value=True)
    few, many = build.add("PrimitiveInt", value=4), build.add("PrimitiveInt", value=20)
    steps = build.add("ComfySwitchNode", switch=fast[0], on_false=many[0], on_true=few[0])
    build.add("EmptyHunyuanLatentVideo", width=64, height=64, length=length[1], batch_size=1)
    build.add("BasicScheduler", scheduler="simple", steps=steps[0], denoise=1.0)
    named = found(build.build())
    assert targets(named["duration"]) == ["1.value"] and targets(named["fps"]) == ["2.value"]
    assert targets(named["steps"]) == ["5.value"] and targets(named["steps2"]) == ["6.value"]
    assert named["enable_lightning_lora"].kind is InputKind.BOOLEAN


def test_every_seed_is_one_input_but_not_that_of_a_sampler_without_noise() -> None:
    build = GraphBuilder()
    for noise in ("enable", "disable", "enable"):
        build.add(
            "KSamplerAdvanced",
            add_noise=noise, noise_seed=5, steps=4, cfg=1.0, sampler_name="euler", scheduler="simple",
            start_at_step=0, end_at_step=2, return_with_leftover_noise="disable",
        )  # fmt: skip
    assert targets(found(build.build())["seed"]) == ["1.noise_seed", "3.noise_seed"]


def test_pictures_are_numbered_by_the_inputs_they_end_in() -> None:
    build = GraphBuilder()
    last, first = build.add("LoadImage", image="b.png"), build.add("LoadImage", image="a.png")
    small = build.add("ImageScaleBy", image=first[0], upscale_method="area", scale_by=0.5)
    build.add(
        "WanFirstLastFrameToVideo", width=64, height=64, length=5, batch_size=1, start_image=small[0], end_image=last[0]
    )
    named = found(build.build())
    assert (named["image"].default, named["image2"].default) == ("a.png", "b.png")
    assert (named["image"].aliases, named["image2"].aliases) == (("start_image",), ("end_image",))


def test_the_alpha_channel_of_a_used_picture_is_a_mask_that_is_set_on_a_server_only() -> None:
    build = GraphBuilder()
    picture = build.add("LoadImage", image="a.png")
    build.add("ImageCompositeMasked", destination=picture[0], source=picture[0], mask=picture[1], x=0, y=0)
    made = build.build()
    named = found(made)
    assert named["mask"].encoding is Encoding.ALPHA and targets(named["mask"]) == ["1.image"]
    with pytest.raises(InvalidValueError, match="joined with its picture"):
        inputs.apply(made, named.values(), {"mask": "m.png"}, TYPES)


def test_loras_carry_their_strengths() -> None:
    build = GraphBuilder()
    model = build.add("CheckpointLoaderSimple", ckpt_name="x.safetensors")
    one = build.add(
        "LoraLoader", model=model[0], clip=model[1], lora_name="a.st", strength_model=0.5, strength_clip=0.5
    )
    build.add("LoraLoaderModelOnly", model=one[0], lora_name="b.st", strength_model=0.25)
    named = found(build.build())
    assert (named["lora"].default, named["lora2"].default) == ("a.st", "b.st")
    assert targets(named["lora_strength"]) == ["2.strength_model", "2.strength_clip"]
    assert targets(named["lora2_strength"]) == ["3.strength_model"]


def test_unknown_classes_cycles_and_links_to_nothing_still_give_inputs() -> None:
    data = sd15()
    data["20"] = {"class_type": "Nobody'sNode", "inputs": {"seed": 9, "text": "words", "x": ["21", 0]}}
    data["21"] = {"class_type": "Nobody'sNode", "inputs": {"x": ["20", 0], "y": ["gone", 3]}}
    data["3"]["inputs"]["model"] = ["21", 0]
    data["22"] = {"class_type": None}
    named = found(api_format.parse(data))
    assert set(targets(named["seed"])) == {"3.seed", "20.seed"} and named["prompt"].default == "a lighthouse"


def test_the_schema_describes_what_apply_takes() -> None:
    schema = inputs.schema(inputs.find(graph(), TYPES), "picture")
    assert schema["$schema"].endswith("2020-12/schema") and schema["additionalProperties"] is False
    assert schema["properties"]["steps"] == {
        "title": "Steps", "type": "integer", "default": 20, "minimum": 1, "maximum": 10000, "x-targets": ["3.steps"],
    }  # fmt: skip
    assert "euler" in schema["properties"]["sampler"]["enum"]
    assert schema["required"] == []


def test_values_are_read_from_text_and_set_everywhere() -> None:
    start = graph()
    given = {"prompt": "x", "seed": "7", "cfg": 3, "sampler": "EULER", "negative": "y", "5.width": "768", "steps": 9.0}
    made = api_format.dump(inputs.apply(start, inputs.find(start, TYPES), given, TYPES))
    assert (made["6"]["inputs"]["text"], made["7"]["inputs"]["text"]) == ("x", "y")
    assert made["3"]["inputs"]["seed"] == 7 and made["3"]["inputs"]["sampler_name"] == "euler"
    assert (made["5"]["inputs"]["width"], made["3"]["inputs"]["steps"]) == (768, 9)


def test_an_address_wins_over_a_name_whatever_comes_first() -> None:
    start = graph()
    for given in ({"seed": 1, "KSampler.seed": 2}, {"KSampler.seed": 2, "seed": 1}):
        made = inputs.apply(start, inputs.find(start, TYPES), given, TYPES)
        assert made["3"].inputs is not None and made["3"].inputs["seed"] == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", "many", "whole number"),
        ("steps", 0, "at least 1"),
        ("steps", True, "whole number"),
        ("cfg", "1000", "at most 100"),
        ("cfg", "nan", "a number"),
        ("sampler", "eular", "nearest: euler"),
        ("prompt", ["a"], "a text"),
        ("3.steps", 20_000, "at most 10000"),
        ("9.filename_prefix", {"a": 1}, "a text"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(name: str, value: object, words: str) -> None:
    start = graph()
    with pytest.raises(InvalidValueError, match=words):
        inputs.apply(start, inputs.find(start, TYPES), {name: value}, TYPES)


@pytest.mark.parametrize(("name", "near"), [("promt", "prompt"), ("6.tex", "6.text"), ("chekpoint", "checkpoint")])
def test_unknown_names_are_answered_with_the_nearest(name: str, near: str) -> None:
    start = graph()
    with pytest.raises(UnknownInputError) as caught:
        inputs.apply(start, inputs.find(start, TYPES), {name: "x"}, TYPES)
    assert near in caught.value.facts["suggestions"]


def test_a_bare_name_of_several_nodes_is_refused_with_their_addresses() -> None:
    data = sd15()
    data["30"] = {"class_type": "ImageBlur", "inputs": {"sigma": 1.0}}
    data["31"] = {"class_type": "ImageSharpen", "inputs": {"sigma": 2.0}}
    start = api_format.parse(data)
    with pytest.raises(UnknownInputError, match=r"several nodes; say which: 30\.sigma, 31\.sigma"):
        inputs.apply(start, inputs.find(start, TYPES), {"sigma": 1}, TYPES)


def pinned(text: str, start: Graph) -> pins.Prepared:
    return pins.prepare(start, TYPES, pins.parse(yaml_text.loads(text, "the file"), "the file"))


def test_pins_name_hide_and_preset_inputs() -> None:
    text = """
    inputs:
      hero: {from: prompt, title: Hero, default: a knight}
      size: {targets: [5.width, EmptyLatentImage.height], default: 256, maximum: 1024}
      steps: {minimum: 4}
    hide: [cfg, sampler]
    """
    made = pinned(text, graph())
    named = {item.name: item for item in made.inputs}
    assert {"prompt", "width", "height", "cfg", "sampler"}.isdisjoint(named)
    assert (named["hero"].title, targets(named["size"]), named["steps"].minimum) == (
        "Hero", ["5.width", "5.height"], 4,
    )  # fmt: skip
    dumped = api_format.dump(inputs.apply(made.graph, made.inputs, {"size": 512, "KSampler.cfg": 2}, TYPES))
    assert dumped["6"]["inputs"]["text"] == "a knight" and dumped["5"]["inputs"]["height"] == 512
    assert dumped["3"]["inputs"]["cfg"] == 2
    with pytest.raises(InvalidValueError, match="at most 1024"):
        inputs.apply(made.graph, made.inputs, {"size": 2048}, TYPES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs: {a: {colour: red}}", "colour"),
        ("[1, 2]", "the file"),
        ("inputs: {'two words': {from: seed}}", "no name"),
        ("inputs: {a: {from: nothing}}", "no input 'nothing'"),
        ("inputs: {a: {targets: [99.x]}}", "no input '99.x'"),
        ("hide: [nothing]", "hides 'nothing'"),
    ],
)
def test_pins_that_say_something_impossible_are_refused(text: str, words: str) -> None:
    with pytest.raises((WorkflowFormatError, UnknownInputError), match=words):
        pinned(text, graph())


def test_long_chains_of_conditioning_and_of_joined_texts_are_read_in_seconds() -> None:
    build = GraphBuilder()
    text = build.add("PrimitiveString", value="x")
    for number in range(1500):
        text = build.add("StringConcatenate", string_a=text[0], string_b=str(number), delimiter="")
    steered = build.add("CLIPTextEncode", text=text[0])
    for _ in range(1500):
        steered = build.add("ConditioningCombine", conditioning_1=steered[0], conditioning_2=steered[0])
        build.add("BasicGuider", conditioning=steered[0])
    began = time.monotonic()
    assert "prompt" in found(build.build())
    assert time.monotonic() - began < 15  # 72 s when every guider's conditioning was followed anew
