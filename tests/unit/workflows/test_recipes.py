"""Recipes: valid where their nodes are, values in their places, what a server lacks named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from tools import capabilities_page

from comfyops.errors import MissingExtraError, UsageError
from comfyops.workflows import api_format, node_types
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Severity
from comfyops.workflows.recipes import RECIPES, Lora, Recipe, Values, named, official, serving
from comfyops.workflows.validate import validate

TYPES = node_types.shipped()
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


def built(name: str, **values: object) -> Graph:
    recipe = RECIPES[name]
    return recipe.build(replace(recipe.example(), **values), TYPES)


def inputs(graph: Graph, class_type: str, name: str) -> list[object]:
    return [(node.inputs or {}).get(name) for node in graph.of_class(class_type)]


def server_with(files: dict[str, tuple[str, ...]]) -> NodeTypes:
    """A server with 0.33.0's nodes that has these model files, by folder, and no others."""
    facts = json.loads(json.dumps(TYPES.object_info()))
    for class_type, folders in TYPES.folders.items():
        for name, folder in folders.items():
            for group in facts[class_type]["input"].values():
                if name in group and folder != "input":
                    group[name] = [list(files.get(folder, ())), {}]
    return NodeTypes(facts, version="0.33.0")


@every_recipe
def test_a_recipe_is_valid_on_the_newest_shipped_facts(recipe: Recipe) -> None:
    problems = validate(recipe.build(recipe.example(), TYPES), TYPES)
    assert [item.message for item in problems if item.severity is not Severity.WARNING] == []
    assert [item.message for item in problems if item.code in ("unused_node", "unknown_input", "will_fail")] == []


@every_recipe
def test_a_recipe_is_valid_on_older_facts_or_says_what_is_missing(recipe: Recipe) -> None:
    older = node_types.shipped("0.8.0")
    missing = recipe.missing(older)
    assert all(item.kind == "node" and "0.33.0" in item.brings for item in missing)
    if not missing:
        problems = validate(recipe.build(recipe.example(), older), older)
        assert [item.message for item in problems if item.severity is not Severity.WARNING] == []


@every_recipe
def test_what_is_set_is_in_the_graph(recipe: Recipe) -> None:
    wanted = {"prompt": "a very special lighthouse", "negative": "no such thing", "seed": 987654321, "steps": 14}
    given = {name: value for name, value in wanted.items() if name in recipe.takes}
    text = json.dumps(api_format.dump(recipe.build(replace(recipe.example(), **given), TYPES)))
    assert [name for name, value in given.items() if str(value) not in text] == []


@every_recipe
def test_every_model_file_has_a_folder_and_a_reason_or_a_source(recipe: Recipe) -> None:
    assert recipe.source.template or recipe.source.reason
    without = {file.name for file in recipe.required().files if not file.url}
    assert without <= {"controlnet-canny-sdxl-1.0.safetensors"}


@every_recipe
def test_sizes_and_lengths_fit_the_model(recipe: Recipe) -> None:
    own = recipe.complete(replace(recipe.example(), **_odd(recipe)))
    if recipe.size and own.width and own.height:
        assert own.width % recipe.size.multiple == own.height % recipe.size.multiple == 0
        assert own.width >= 333 and own.height >= 222
    if recipe.length and own.frames:
        assert (own.frames - 1) % recipe.length.step == 0 and own.frames >= 30


def _odd(recipe: Recipe) -> dict[str, int]:
    return {name: value for name, value in (("width", 333), ("height", 222), ("frames", 30)) if name in recipe.takes}


@pytest.mark.parametrize("capability", [item for item in Capability if item is not Capability.VIDEO_GENERATION])
def test_every_capability_is_served(capability: Capability) -> None:
    assert serving(capability)


def test_two_capabilities_are_served_by_one_recipe_that_has_both() -> None:
    found = serving(Capability.TEXT_TO_VIDEO, Capability.SUPER_RESOLUTION)
    assert {"hunyuan15-text-to-video-upscaled", "ltx2-text-to-video"} <= {recipe.name for recipe in found}


def test_wan_takes_half_of_its_steps_with_each_model() -> None:
    graph = built("wan22-text-to-video", steps=14, seed=5)
    assert inputs(graph, "KSamplerAdvanced", "steps") == [14, 14]
    assert sorted(inputs(graph, "KSamplerAdvanced", "end_at_step")) == [7, 14]
    assert sorted(inputs(graph, "KSamplerAdvanced", "start_at_step")) == [0, 7]
    assert sorted(inputs(graph, "KSamplerAdvanced", "noise_seed")) == [0, 5]


def test_lightning_is_there_only_where_it_is_asked_for() -> None:
    assert not built("wan22-text-to-video").of_class("LoraLoaderModelOnly", "ComfySwitchNode")
    assert len(built("wan22-text-to-video-lightning").of_class("LoraLoaderModelOnly")) == 2
    assert "Lightning" in str(inputs(built("qwen-image-lightning"), "LoraLoaderModelOnly", "lora_name"))
    assert inputs(built("qwen-image-lightning"), "KSampler", "steps") == [4]


def test_a_camera_lora_stands_between_the_checkpoint_and_both_passes_of_ltx() -> None:
    camera = Lora("ltx-2-19b-lora-camera-control-dolly-left.safetensors", 0.8)
    graph = built("ltx2-text-to-video", loras=(camera,))
    node = next(item for item in graph.of_class("LoraLoaderModelOnly") if camera.name in (item.inputs or {}).values())
    users = [item.class_type for item in graph if any(link.node == node.id for _, link in item.links())]
    assert sorted(users) == ["CFGGuider", "LoraLoaderModelOnly"]


def test_ltx_hears_of_the_frame_rate_everywhere_and_in_whole_numbers_where_a_server_wants_them() -> None:
    graph = built("ltx2-text-to-video", fps=23.976, frames=30)
    older = RECIPES["ltx2-text-to-video"].build(Values(fps=23.976), node_types.shipped("0.8.0"))
    assert inputs(older, "LTXVEmptyLatentAudio", "frame_rate") == [24]
    assert inputs(graph, "CreateVideo", "fps") == inputs(graph, "LTXVConditioning", "frame_rate") == [23.976]
    assert inputs(graph, "EmptyLTXVLatentVideo", "length") == inputs(graph, "LTXVEmptyLatentAudio", "frames_number")
    assert inputs(graph, "EmptyLTXVLatentVideo", "length") == [33]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_qwen_edit_sees_as_many_pictures_as_are_given(count: int) -> None:
    graph = built("qwen-image-edit", images=tuple(f"{number}.png" for number in range(count)))
    assert len(graph.of_class("LoadImage")) == count
    links = [name for name, _ in graph.of_class("TextEncodeQwenImageEditPlus")[0].links() if name.startswith("image")]
    assert links == [f"image{number}" for number in range(1, count + 1)]


def test_vace_is_given_a_mask_for_each_frame_and_keeps_what_lies_outside() -> None:
    graph = built("wan-vace-inpainting")
    vace, kept = graph.of_class("WanVaceToVideo")[0], graph.of_class("ImageCompositeMasked")[0]
    assert dict(vace.links())["control_masks"] == dict(kept.links())["mask"]
    assert len(graph.of_class("LoadVideo")) == 2


def test_a_value_that_a_recipe_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no 'mask'"):
        built("qwen-image", mask="mask.png")
    with pytest.raises(UsageError, match="needs picture"):
        RECIPES["qwen-image-inpainting"].complete(Values(images=("a.png",)))
    with pytest.raises(UsageError, match="1 to 3 pictures, not 4"):
        built("qwen-image-edit", images=("a", "b", "c", "d"))


def test_names_that_are_not_there_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        named("qwen-imag")
    assert "qwen-image" in caught.value.hint
    with pytest.raises(UsageError, match="no family 'wan23'"):
        serving(family="wan23")


def test_a_server_without_the_files_is_told_folder_and_source() -> None:
    missing = RECIPES["qwen-image"].missing(server_with({}))
    assert [(item.kind, item.folder) for item in missing] == [
        ("model", "diffusion_models"),
        ("model", "text_encoders"),
        ("model", "vae"),
    ]
    assert all(item.url.startswith("https://") and item.url in item.sentence for item in missing)


def test_another_precision_in_a_subfolder_will_do() -> None:
    server = server_with(
        {
            "diffusion_models": ("qwen/Qwen_Image_bf16.safetensors",),
            "text_encoders": ("qwen_2.5_vl_7b.safetensors",),
            "vae": ("qwen_image_vae.safetensors",),
        }
    )
    recipe = RECIPES["qwen-image"]
    assert recipe.missing(server) == ()
    graph = recipe.build(recipe.example(), server)
    assert inputs(graph, "UNETLoader", "unet_name") == ["qwen/Qwen_Image_bf16.safetensors"]


def test_a_template_that_is_not_installed_is_an_error_with_a_hint() -> None:
    with pytest.raises(MissingExtraError) as caught:
        official.read("no_such_template")
    assert "comfyops[templates]" in caught.value.hint


def test_without_the_templates_hand_written_recipes_work_and_others_say_what_is_missing() -> None:
    program = f"""
import sys
sys.modules[{official.PACKAGE!r}] = None
from comfyops.workflows import node_types
from comfyops.workflows.recipes import RECIPES
types = node_types.shipped()
for recipe in RECIPES.values():
    missing = recipe.missing(types)
    assert bool(recipe.source.template) == bool(missing), recipe.name
    assert all(item.kind == "extra" and "pip install" in item.sentence for item in missing), recipe.name
print(sum(not recipe.source.template for recipe in RECIPES.values()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15


def test_the_page_of_capabilities_says_what_the_recipes_are() -> None:
    page = capabilities_page.PAGE.read_text()
    assert page == capabilities_page.updated(page), "write it anew with: python tools/capabilities_page.py"
    assert all(f"| `{name}` |" in page for name in RECIPES)
