"""The catalog: what it ships, what a person adds, and how models are chosen from it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tools import template_models

from comfyops.errors import CatalogError, ComfyOpsError, NotJsonError, UnknownModelError, UnsafeNameError
from comfyops.models import catalog, user_catalog
from comfyops.models.catalog import Catalog, Choice, combined, listing
from comfyops.models.entry import ModelEntry, merged, normal_url, parse, written
from comfyops.models.folders import SUBFOLDERS
from tests.unit.models.shelf import entry

# Bytes and hashes that the documents get wrong, as the sources state them.
TRUE = {
    "vae/flux2-vae.safetensors": (336213556, "d64f3a68"),
    "diffusion_models/flux2_dev_fp8mixed.safetensors": (35455599592, "863a82e4"),
    "text_encoders/mistral_3_small_flux2_bf16.safetensors": (35584897447, "7d79902f"),
    "text_encoders/t5xxl_fp16.safetensors": (9787841024, "6e480b09"),
    "loras/ltx-2-19b-distilled-lora-384.safetensors": (7674558424, "2718f895"),
    "checkpoints/sd_xl_base_1.0.safetensors": (6938078334, "31e35c80"),
}


@pytest.fixture(scope="module")
def known() -> Catalog:
    return catalog.load()


def test_the_documented_models_have_their_true_sizes_hashes_and_folders(known: Catalog) -> None:
    for key, (size, start) in TRUE.items():
        assert known.models[key].size == size and (known.models[key].sha256 or "").startswith(start), key
    core = [item.entry.id for item in known.chosen(Choice()) if item.required]
    assert core == list(TRUE)[:3]
    assert len(known.chosen(Choice())) == 12


def test_every_shipped_model_has_a_known_folder_and_trusted_addresses(known: Catalog) -> None:
    assert len(known.models) > 360
    for item in known.models.values():
        assert item.folder in SUBFOLDERS and item.urls, item.id
        assert all(re.fullmatch(r"https://huggingface\.co/[^/?]+/[^/?]+/resolve/[^?]+", url) for url in item.urls), (
            item.id
        )
        assert item.required_in or item.optional_in, item.id
        assert parse(written(item), item.id) == item


def test_every_model_of_the_official_templates_is_known(known: Catalog) -> None:
    assert template_models.main.__doc__ and (template_models.TARGET.is_file())
    shipped = json.loads(template_models.TARGET.read_text())["models"]
    from importlib.resources import files

    installed = template_models.collected(Path(str(files("comfyui_workflow_templates_json"))) / "templates")
    assert {(item["folder"], item["file"]) for item in installed} <= {(i["folder"], i["file"]) for i in shipped}
    assert len(known.all_groups) > 260
    assert [item.required for item in known.members("video_wan2_2_5B_ti2v")] == [True, True, True]


def test_every_group_has_models_and_names_templates_that_are_there(known: Catalog) -> None:
    for group in known.groups.values():
        members = known.members(group.name)
        assert any(item.required for item in members), group.name
        assert all(template in known.all_groups for template in group.templates), group.name
    assert {"flux2", "flux2-klein", "ltx2", "qwen-image", "wan2.1-t2v", "wan2.2-t2v", "z-image", "sdxl", "sd15"} <= set(
        known.groups
    )
    assert {"hunyuan-video-1.5-t2v", "controlnet", "storycore"} <= set(known.groups)


def test_models_are_found_by_name_file_or_id_in_any_case(known: Catalog) -> None:
    for text in ("FLUX2-vae", "flux2-vae.safetensors", "vae/flux2-vae.safetensors", "vae\\flux2-vae.safetensors"):
        assert [item.id for item in known.find(text)] == ["vae/flux2-vae.safetensors"], text
    assert {item.folder for item in known.find("flux1-dev-fp8")} == {"checkpoints", "diffusion_models"}
    with pytest.raises(UnknownModelError) as caught:
        known.find("flux2-vea")
    assert "'flux2-vae'" in caught.value.hint
    with pytest.raises(UnknownModelError):
        known.members("flux-two")
    assert "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors" in [
        item.id for item in known.search("UMT5 wan2.2-5b")
    ]


def test_a_choice_names_each_model_once_and_what_anything_requires_is_required() -> None:
    both = entry("a.safetensors", required_in=("x",), optional_in=("y",))
    known = Catalog({both.id: both})
    assert [item.required for item in known.chosen(Choice(groups=("y",)))] == [False]
    assert [item.required for item in known.chosen(Choice(groups=("y", "x")))] == [True]
    assert [item.required for item in known.chosen(Choice(groups=("y",), optional=True))] == [True]
    assert [item.required for item in known.chosen(Choice(models=("a",)))] == [True]
    assert [item.required for item in known.chosen(Choice(everything=True))] == [True]


def test_lists_are_merged_the_first_counts_and_addresses_are_kept() -> None:
    mine = entry("a.safetensors", size=5, required_in=("mine",))
    theirs = entry("a.safetensors", size=5, sha256="a" * 64, urls=("https://huggingface.co/o/b/resolve/main/a",))
    one = merged(mine, theirs)
    assert (one.size, one.sha256, len(one.urls), one.required_in) == (5, "a" * 64, 2, ("mine",))
    other = merged(mine, entry("a.safetensors", size=6, sha256="a" * 64, urls=theirs.urls, optional_in=("theirs",)))
    assert (other.size, other.sha256, other.urls) == (5, None, mine.urls), "nothing has that size and that hash"
    assert (other.required_in, other.optional_in) == (("mine",), ("theirs",))
    pinned = entry(urls=("https://huggingface.co/org/repo/resolve/abc/a.safetensors",))
    assert merged(pinned, entry()).urls == pinned.urls, "another revision is no second source"


def test_a_group_takes_the_models_of_its_templates() -> None:
    data = {
        "groups": {"g": {"title": "G", "templates": ["t"]}},
        "models": [
            {"file": "a.safetensors", "folder": "loras", "required_in": ["t"]},
            {"file": "b.safetensors", "folder": "clip", "optional_in": ["t"]},
            {"file": "c.safetensors", "folder": "vae", "required_in": ["t"], "optional_in": ["g"]},
        ],
    }
    known = combined([listing(data, "x")])
    members = {item.entry.id: item.required for item in known.members("g")}
    assert members == {"loras/a.safetensors": True, "text_encoders/b.safetensors": False, "vae/c.safetensors": False}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "no object with 'models'"),
        ({"models": {}}, "no object with 'models'"),
        ({"schema": "models/9", "models": []}, "models/9"),
        ({"models": ["x"]}, "model 1: a model is an object"),
        ({"models": [{"file": "a.safetensors"}]}, "'folder' is missing"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "sise": 5}]}, "'sise' is no field"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "size": "5 GB"}]}, "'size' is no number"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "size": -1}]}, "'size' is no number"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "sha256": "abc"}]}, "64 hexadecimal"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "url": 5}]}, "'urls' is no list"),
        ({"models": [{"file": "a.safetensors", "folder": "vae", "gated": "yes"}]}, "'gated' is no true or false"),
        ({"models": [{"file": "a.exe", "folder": "vae"}]}, "no ending of a model"),
        ({"models": [{"file": "a.pt", "folder": "vae", "variants": [{"size": 5}]}]}, "'variants' is no list"),
        ({"models": [{"file": "a.pt", "folder": "vae", "variants": "x"}]}, "'variants' is no list"),
        ({"model": []}, "no object with 'models'"),
        ({"models": [], "groups": []}, "'groups' is no object"),
        ({"models": [], "groups": {"x": {"title": ["y"]}}}, "the title of the group 'x'"),
        ({"models": [], "groups": {"x": {"titel": "y"}}}, "'titel' is no field of the group 'x'"),
        (
            {
                "models": [
                    {"file": "a.pt", "folder": "clip", "size": 5},
                    {"file": "b.pt", "folder": "clip"},
                    {"file": "a.pt", "folder": "text_encoders", "size": 6},
                ]
            },
            "models 1 and 3 are both text_encoders/a.pt",
        ),
        ({"models": [], "groups": {"x": 1}}, "'x' is no object"),
        ({"models": [], "groups": {"x": {"templates": "t"}}}, "no list of names"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_in_words(data: object, words: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(words)):
        listing(data, "x.yaml")


@pytest.mark.parametrize(
    "file",
    [
        *("../a.safetensors", "/a.safetensors", "a//b.safetensors", "C:x.safetensors", "a/..", ""),
        *("con .safetensors", "COM¹.safetensors", "sub/CONOUT$.safetensors", "a\ud800.safetensors"),
        "x/" * 300 + "a.safetensors",
        *("a\u202esrotsnetefas.exe.safetensors", "a\x9b2J.safetensors"),
    ],
)
def test_a_name_that_would_leave_its_folder_is_refused(file: str) -> None:
    with pytest.raises(ComfyOpsError):
        parse({"file": file, "folder": "vae"}, "x")


@pytest.mark.parametrize("folder", ["..", "a/b", "/etc", "custom nodes", ".", "con", "NUL"])
def test_a_folder_that_is_none_is_refused(folder: str) -> None:
    with pytest.raises(UnsafeNameError):
        parse({"file": "a.safetensors", "folder": folder}, "x")


def test_addresses_of_pages_become_those_of_files() -> None:
    assert normal_url("https://huggingface.co/o/r/blob/main/a.safetensors?download=true") == (
        "https://huggingface.co/o/r/resolve/main/a.safetensors"
    )
    assert normal_url(" https://example.org/a?b=c ") == "https://example.org/a?b=c"
    version = "https://civitai.com/api/download/models/128713"
    assert normal_url("https://civitai.com/models/4384?modelVersionId=128713") == version
    assert normal_url("https://www.civitai.com/models/4384/a-name?x=y&modelVersionId=128713") == version
    assert normal_url("https://civitai.com/models/4384") == "https://civitai.com/models/4384"
    assert normal_url("https://huggingface.co/o/r/resolve/main/a dir/ü%20é.safetensors") == (
        "https://huggingface.co/o/r/resolve/main/a%20dir/%C3%BC%20%C3%A9.safetensors"
    )


def test_old_names_of_folders_mean_the_new_ones() -> None:
    assert parse({"file": "a.safetensors", "folder": "clip"}, "x").folder == "text_encoders"
    assert parse({"file": "a.safetensors", "folder": "unet"}, "x").folder == "diffusion_models"
    assert parse({"file": "a.safetensors", "folder": "Clip"}, "x").folder == "text_encoders"
    assert parse({"file": "a.safetensors", "folder": "Loras"}, "x").folder == "loras"
    assert parse({"file": "a.safetensors", "folder": "MyOwn"}, "x").folder == "MyOwn"


@pytest.mark.parametrize(
    "text", ["clip/t5xxl_fp16.safetensors", "models/clip/t5xxl_fp16", "models\\text_encoders\\T5XXL_fp16.safetensors"]
)
def test_a_model_is_found_by_old_names_of_its_folder_and_below_models(known: Catalog, text: str) -> None:
    assert [item.id for item in known.find(text)] == ["text_encoders/t5xxl_fp16.safetensors"]


def test_how_an_accent_is_written_does_not_matter_for_finding_a_model() -> None:
    both = entry("caf\u00e9.safetensors")
    assert Catalog({both.id: both}).find("cafe\u0301") == (both,)


def test_who_names_a_group_or_an_address_as_a_model_is_told_what_to_say_instead(known: Catalog) -> None:
    for text, words in (("flux2", "--group flux2"), ("https://huggingface.co/o/r/resolve/main/x.safetensors", "--url")):
        with pytest.raises(UnknownModelError) as caught:
            known.find(text)
        assert words in caught.value.hint
    with pytest.raises(UnknownModelError) as caught:
        known.members("qqqqqq")
    assert "ls --groups" in caught.value.hint


def test_an_empty_list_is_one(tmp_path: Path) -> None:
    for text in ("", "models:\n", "groups: {}\n", "\ufeffmodels: []\r\n"):
        (tmp_path / "x.yaml").write_bytes(text.encode())
        assert user_catalog.read(tmp_path / "x.yaml").models == ()


def test_the_class_of_a_card_is_the_smallest_that_holds_the_weights() -> None:
    sizes = {None: None, 7 * 10**9: 8, 8 * 10**9: 12, 35 * 10**9: 48, 10**12: None}
    assert {size: ModelEntry("vae", "a", size=size).vram_class for size in sizes} == sizes


def test_a_persons_catalog_is_kept_and_goes_first(tmp_path: Path) -> None:
    own = tmp_path / "home" / "models.yaml"
    mine = entry("flux2-vae.safetensors", size=1, required_in=("mine",))
    user_catalog.add(own, [mine])
    user_catalog.add(own, [entry("b.safetensors")])
    user_catalog.add(own, [entry("b.safetensors", size=7)])
    assert [item.size for item in user_catalog.read(own).models] == [1, 7]
    further = tmp_path / "x.yaml"
    further.write_text("models:\n  - {file: flux2-vae.safetensors, folder: loras, size: 2}\n")
    known = user_catalog.whole(own, [further])
    assert known.models["loras/flux2-vae.safetensors"].size == 2 and known.members("mine")
    assert [item.id for item in user_catalog.remove(own, "b")] == ["loras/b.safetensors"]
    with pytest.raises(UnknownModelError):
        user_catalog.remove(own, "b")


def test_groups_of_a_persons_catalog_are_kept_and_many_may_add_at_once(tmp_path: Path) -> None:
    own = tmp_path / "home" / "models.yaml"
    own.parent.mkdir()
    own.write_text("groups: {mine: {title: My own, templates: [image_z_image_turbo]}, other: {}}\nmodels: []\n")
    entries = [entry(f"{number}.safetensors", required_in=("mine",)) for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: user_catalog.add(own, [item]), entries))
    user_catalog.remove(own, "3.safetensors")
    known = user_catalog.read(own)
    assert {item.file for item in known.models} == {item.file for item in entries} - {"3.safetensors"}
    assert [(group.name, group.title, group.templates) for group in known.groups] == [
        ("mine", "My own", ("image_z_image_turbo",)),
        ("other", "other", ()),
    ]
    assert [path.name for path in own.parent.iterdir()] == [own.name]


def test_a_catalog_file_that_is_none_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "x.yaml"
    bad.write_text("models: [")
    with pytest.raises(NotJsonError):
        user_catalog.read(bad)
    with pytest.raises(ComfyOpsError):
        user_catalog.read(tmp_path)
    bad.write_text("")
    assert user_catalog.read(bad).models == ()
