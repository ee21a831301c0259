import pytest

from comfyops.jobs import needs as remembered
from comfyops.jobs.needs import ModelFile, Needs, needs_of
from comfyops.workflows import api_format
from comfyops.workflows.graph import GraphBuilder
from comfyops.workflows.node_types import from_object_info, shipped


def picture(model="sd15.safetensors", lora=""):
    build = GraphBuilder()
    loaded = build.add("CheckpointLoaderSimple", ckpt_name=model)
    source = build.add("LoraLoaderModelOnly", model=loaded[0], lora_name=lora, strength_model=1.0) if lora else loaded
    words = build.add("CLIPTextEncode", text="a boat", clip=loaded[1])
    latent = build.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    drawn = build.add(
        "KSampler", model=source[0], positive=words[0], negative=words[0], latent_image=latent[0], seed=1, steps=1,
        cfg=1.0, sampler_name="euler", scheduler="normal", denoise=1.0,
    )  # fmt: skip
    build.add("SaveImage", images=build.add("VAEDecode", samples=drawn[0], vae=loaded[2])[0], filename_prefix="x")
    return build.build()


def test_a_graph_needs_its_classes_and_the_files_its_loaders_name():
    needs = needs_of(picture(lora="ink.safetensors"))
    assert {"CheckpointLoaderSimple", "KSampler", "SaveImage", "LoraLoaderModelOnly"} <= needs.classes
    assert needs.models == (ModelFile("checkpoints", "sd15.safetensors"), ModelFile("loras", "ink.safetensors"))


def test_jobs_that_differ_in_prompt_or_seed_need_the_same():
    graph = picture()
    other = graph.with_input("2", "text", "a mountain").with_input("4", "seed", 99)
    assert needs_of(graph).key == needs_of(other).key
    assert needs_of(graph).key != needs_of(picture("xl.safetensors")).key


def test_a_lora_changes_the_needs_but_not_what_must_be_loaded():
    plain, with_lora = needs_of(picture()), needs_of(picture(lora="ink.safetensors"))
    assert plain.key != with_lora.key
    assert plain.model_set == with_lora.model_set == "checkpoints/sd15.safetensors"


def test_a_file_that_no_output_depends_on_is_not_needed_but_its_class_is():
    graph = api_format.parse(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
            "3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "unused.safetensors"}},
        }
    )
    needs = needs_of(graph)
    assert needs.models == ()
    assert "CheckpointLoaderSimple" in needs.classes
    assert needs.model_set == ""


def test_a_choice_of_a_custom_loader_is_a_file_of_an_unknown_folder():
    facts = dict(shipped().object_info())
    facts["UnetLoaderGGUF"] = {"input": {"required": {"unet_name": [["flux-q4.gguf"]]}}, "output": ["MODEL"]}
    facts["SaveAnything"] = {
        "input": {"required": {"model": ["MODEL"], "name": ["STRING"]}}, "output": [], "output_node": True,
    }  # fmt: skip
    graph = api_format.parse(
        {
            "1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "flux-q4.gguf"}},
            "2": {"class_type": "SaveAnything", "inputs": {"model": ["1", 0], "name": "mine.safetensors"}},
        }
    )
    assert needs_of(graph, from_object_info(facts)).models == (ModelFile("", "flux-q4.gguf"),)
    assert needs_of(graph).models == ()


@pytest.mark.parametrize("needs", [Needs(), needs_of(picture(), vram=8 << 30, tags=("fast", "eu"), backend="gpu-3")])
def test_needs_survive_their_json_form(needs):
    again = Needs.from_dict(needs.as_dict())
    assert again == needs
    assert (again.key, again.model_set) == (needs.key, needs.model_set)


def test_the_order_of_files_and_tags_makes_no_difference():
    one = Needs(models=(ModelFile("vae", "a"), ModelFile("loras", "b")), tags=frozenset(["x", "y"]))
    two = Needs(models=(ModelFile("loras", "b"), ModelFile("vae", "a"), ModelFile("vae", "a")), tags=frozenset("yx"))
    assert one.key == two.key
    assert one == two


def test_tags_that_are_long_are_not_remembered():
    before = remembered._needs.cache_info().currsize
    for number in range(20):
        tags = [f"{number}-{place}{'a' * 1900}" for place in range(3)]
        assert needs_of(picture(), tags=tags).tags == frozenset(tags)
    assert remembered._needs.cache_info().currsize == before
