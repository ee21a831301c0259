"""The library: official templates in their languages, own folders, search, the facts of every workflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comfyops.errors import InvalidValueError, MissingFileError, UnknownTemplateError
from comfyops.workflows import embedded, library, template_facts, templates
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.library import ANY, Library
from comfyops.workflows.node_types import NodeTypes, shipped
from comfyops.workflows.template_facts import Facts
from tests.unit.workflows.builders import sd15

TYPES = shipped("0.33.0")
OFFICIAL = templates.official()


def facts(name: str, types: NodeTypes = TYPES) -> Facts:
    item = Library().get(name)
    return template_facts.facts(item, embedded.workflows(library.read(item), name), types)


def test_every_language_describes_the_same_templates() -> None:
    names = [item.name for item in OFFICIAL]
    assert len(set(names)) == len(names) >= 600
    for language in templates.languages():
        described = templates.official(language)
        assert {item.name for item in described} == set(names), language
        assert all(item.title and item.description for item in described)


def test_words_are_found_in_any_language_without_case_and_accents() -> None:
    known = Library()
    for text in ("图像 编辑", "EDICION de imagenes", "画像 編集", "image editing"):
        assert any("edit" in item.name for item in known.search(text, ANY)[:5]), text
    assert {item.title for item in known.search("图像", ANY)} <= {item.title for item in OFFICIAL}
    assert known.search("wan vidéo", "fr")[0].title != known.get(known.search("wan vidéo", "fr")[0].name).title


def test_every_word_must_be_found_and_names_go_first() -> None:
    known = Library()
    assert known.search("qwen nosuchwordatall") == ()
    first = known.search("wan2.1 flf2v 720p")[0]
    assert first.name == "wan2.1_flf2v_720_f16"


def test_an_unknown_name_is_answered_with_the_nearest_and_a_title_is_a_name_too() -> None:
    known = Library()
    with pytest.raises(UnknownTemplateError) as caught:
        known.get("flux_scnell")
    assert "flux_schnell" in caught.value.facts["suggestions"]
    assert known.get("FLUX_schnell.json").name == "flux_schnell"
    assert known.get(known.get("flux_schnell").title).name == "flux_schnell"
    with pytest.raises(InvalidValueError, match="only in en"):
        known.all("xx")


def test_own_folders_come_first_and_other_json_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.json").write_text(json.dumps(sd15()))
    (tmp_path / "flux_schnell.json").write_text(json.dumps(sd15()))
    (tmp_path / "settings.json").write_text('{"theme": "dark"}')
    known = Library([tmp_path])
    assert [item.name for item in known.own] == ["deep/mine", "flux_schnell"]
    assert known.get("deep/mine").source == "folder" and known.get("flux_schnell").source == "folder"
    assert len(known.all()) == len(OFFICIAL) + 1
    with pytest.raises(MissingFileError):
        Library([tmp_path / "none"]).all()


def test_what_a_server_has_saved_is_found_by_name() -> None:
    item = Library(saved=["folder/portrait"]).get("folder/portrait")
    assert (item.source, item.path, item.title) == ("server", None, "portrait")


def test_facts_name_models_with_their_sources_and_classes() -> None:
    found = facts("wan2.1_flf2v_720_f16")
    assert found.missing_classes == () and found.capabilities == (Capability.IMAGE_TO_VIDEO,)
    unet = next(item for item in found.models if item.folder == "diffusion_models")
    assert unet.name.startswith("wan2.1_flf2v") and unet.url.startswith("https://") and unet.on_server is None
    assert {"prompt", "image", "image2", "frames", "fps"} <= {item.name for item in found.inputs}


def test_what_a_server_lacks_is_told() -> None:
    with_files = NodeTypes(
        {**shipped("0.8.0").object_info(), "VAELoader": _vae_loader("wan_2.1_vae.safetensors")}, folders=TYPES.folders
    )
    found = facts("wan2.1_flf2v_720_f16", with_files)
    there = {item.name: item.on_server for item in found.models}
    assert there["wan_2.1_vae.safetensors"] is True
    assert there["wan2.1_flf2v_720p_14B_fp16.safetensors"] is False
    assert "SaveImageAdvanced" in facts("image_ming_image_01_design_t2i", with_files).missing_classes


def _vae_loader(name: str) -> dict[str, object]:
    return {"input": {"required": {"vae_name": [[name]]}}, "output": ["VAE"]}


@pytest.mark.slow
def test_every_official_template_shows_its_facts_with_unique_names_and_targets() -> None:
    """All of them are read, converted and described; each place is set by one input only."""
    for item in OFFICIAL:
        found = template_facts.facts(item, embedded.workflows(library.read(item), item.name), TYPES)
        names = [entry.name for entry in found.inputs]
        assert len(set(names)) == len(names), item.name
        assert all(name.isidentifier() and name.isascii() for name in names), (item.name, names)
        places = [place for entry in found.inputs for place in entry.targets if entry.encoding != "alpha"]
        assert len(set(places)) == len(places), item.name
        if any(entry.name == "CLIPTextEncode" for entry in found.classes):
            assert {"prompt", "mask_prompt", "negative_prompt"}.intersection(names), (item.name, names)
        if any(entry.name in ("KSampler", "RandomNoise") for entry in found.classes):
            assert "seed" in names, (item.name, names)


def test_without_the_package_own_folders_work_and_the_rest_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(sd15()))
    program = f"""
import sys
sys.modules["{templates.PACKAGE}"] = None  # what an import finds where it is not installed
from pathlib import Path
from comfyops.errors import MissingExtraError
from comfyops.workflows.library import ANY, Library
known = Library([Path({str(tmp_path)!r})])
print([item.name for item in known.all()], [item.name for item in known.search("mine", ANY)])
try:
    Library().get("flux_schnell")
except MissingExtraError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['mine'] ['mine']", "Install them with `pip install 'comfyops[templates]'`."]
