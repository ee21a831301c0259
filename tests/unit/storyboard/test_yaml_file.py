from __future__ import annotations

from pathlib import Path

import pytest

from comfyops import storyboard
from comfyops.errors import ComfyOpsError, MissingFileError, NotJsonError, StoryboardError
from comfyops.storyboard import yaml_file
from comfyops.storyboard.project import ControlNet, Lora, Reference
from comfyops.storyboard.sizes import Ratio, Size
from tests.unit.storyboard.boards import board


def one_panel(project):
    return next(project.panels()).panel


def test_a_panel_takes_what_it_leaves_open_from_its_shot_and_the_project():
    project = yaml_file.loads(
        """
project: {id: fox}
defaults: {steps: 20, cfg: 5, family: sdxl}
sequences:
  - shots:
      - cfg: 6
        panels:
          - steps: 30
""",
        Path(),
    )
    settings = project.settings_of(next(project.panels()))
    assert (settings.steps, settings.cfg, settings.family) == (30, 6, "sdxl")


def test_panels_without_an_id_are_named_by_their_place():
    project = board("- prompt: one\n- id: own\n- prompt: three")
    assert [placed.panel.id for placed in project.panels()] == ["s01-sh01-p01", "own", "s01-sh01-p03"]
    assert [placed.number for placed in project.panels()] == [1, 2, 3]


def test_text_that_older_yaml_takes_for_numbers_and_booleans_stays_text():
    panel = one_panel(board("- {prompt: no, caption: 2026-01-02, size: 16:9, negative: 010}"))
    assert (panel.prompt, panel.caption, panel.negative) == ("no", "2026-01-02", "010")
    assert panel.settings.size == Ratio(16, 9)


def test_numbers_where_text_is_meant_become_text():
    assert one_panel(board("- prompt: 1984")).prompt == "1984"


def test_pictures_are_looked_for_beside_the_file(tmp_path):
    panel = one_panel(
        board(
            """
- reference: {image: a/b.png, denoise: 0.4}
  controlnets: [{model: canny, image: c.png, strength: 0.5, end: 0.8}]
  loras: [{name: ink, strength: 0.7}]
""".strip(),
            folder=tmp_path,
        )
    )
    assert panel.reference == Reference(tmp_path / "a/b.png", 0.4)
    assert panel.controlnets == (ControlNet("canny", tmp_path / "c.png", 0.5, 0.0, 0.8),)
    assert panel.settings.loras == (Lora("ink", 0.7),)


@pytest.mark.parametrize(
    ("panels", "words"),
    [
        ("- steps: 0", "sequences[0].shots[0].panels[0].steps: input should be greater than or equal to 1"),
        ("- prompt: x\n- stepz: 3", "sequences[0].shots[0].panels[1].stepz is not known there; did you mean steps"),
        ("- steps: true", "panels[0].steps"),
        ("- steps: 20.5", "panels[0].steps"),
        ("- steps: '20'", "panels[0].steps"),
        ("- cfg: .inf", "panels[0].cfg"),
        ("- cfg: 101", "panels[0].cfg"),
        ("- seed: -2", "panels[0].seed"),
        ("- seed: 18446744073709551616", "panels[0].seed"),
        ("- size: 500x500", "500 is no multiple of 8; 496 and 504 are"),
        ("- size: 9999x512", "is not between 64 and 8192"),
        ("- size: 100:1", "is not between 1:8 and 8:1"),
        ("- size: 512", "write 768x432 (pixels) or 16:9 (a ratio)"),
        ("- size: wide", "write 768x432"),
        ("- id: ../x", "panels[0].id: '../x' is no id"),
        ("- id: a/b", "is no id"),
        ("- id: x.", "is no id"),
        ("- characters: [nobody]", "has the character nobody, which is not under `characters`"),
        ("- id: A\n- id: a", "two panels with the id a"),
        ("- reference: {image: x.png, denoise: 0}", "reference.denoise"),
        ("- controlnets: [{model: x}]", "controlnets[0].image is missing"),
        ("- controlnets: [{model: x, image: y, start: 0.5, end: 0.5}]", "ends before it starts"),
        ("- controlnets: [{model: x, image: y, strenght: 1}]", "controlnets[0].strenght is not known there; did you"),
        ("- 3", "panels[0]"),
        ("[]", "panels"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(panels, words):
    with pytest.raises(StoryboardError) as caught:
        board(panels)
    assert words in caught.value.message
    assert caught.value.hint


def test_an_unknown_field_of_a_character_is_told_with_the_known_ones():
    with pytest.raises(StoryboardError, match=r"characters\.mara\.looks is not known there; known are image, name"):
        board(extra="characters: {mara: {prompt: red scarf, looks: good}}")


def test_every_problem_is_in_the_facts_and_the_first_in_the_sentence():
    with pytest.raises(StoryboardError) as caught:
        board("- steps: 0\n- cfg: -1")
    assert len(caught.value.facts["problems"]) == 2
    assert "(and 1 more)" in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "just text", "{}", "project: {id: x}", "project: {}\nsequences: []"])
def test_what_is_no_storyboard_is_refused(text):
    with pytest.raises(StoryboardError):
        yaml_file.loads(text, Path())


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\tx: 1",
        "a: 1\na: 2",
        "!!python/object:os.system x",
        "a: \x00",
        "&a [*a",
        "[a]: 1",
        "a: !!int [1]",
        "!!float {a: 1}",
        "[" * 5000,
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text):
    with pytest.raises(NotJsonError, match="is not YAML"):
        yaml_file.loads(text, Path())


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "board.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01project")
    with pytest.raises(ComfyOpsError) as caught:
        storyboard.load(path)
    assert str(path) in caught.value.message


def test_a_missing_file_and_a_folder_without_a_project_are_told(tmp_path):
    with pytest.raises(MissingFileError):
        storyboard.load(tmp_path / "none.yaml")
    with pytest.raises(MissingFileError, match=r"project\.json"):
        storyboard.load(tmp_path)


def test_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "board.yaml"
    path.write_text("#" * (yaml_file.MAX_BYTES + 1))
    with pytest.raises(StoryboardError, match="larger than 4 MiB"):
        storyboard.load(path)


def test_the_shipped_storyboards_are_read():
    demo = storyboard.demo()
    assert len(list(demo.panels())) == 4
    assert {placed.panel.id for placed in demo.panels()} == {"lighthouse", "footprints", "meeting", "beam"}
    assert demo.style.prompt and "mara" in demo.characters
    assert all(demo.settings_of(placed).size == Size(768, 432) for placed in demo.panels())
    template = yaml_file.loads(storyboard.template(), Path())
    assert [placed.panel.id for placed in template.panels()] == ["leaving", "running"]


def test_the_comments_of_the_template_are_fields_that_work():
    lines = storyboard.template().splitlines()
    opened = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ":" in line else line for line in lines[3:]
    ]
    project = yaml_file.loads("\n".join(opened), Path())
    panel = list(project.panels())[1].panel
    assert panel.controlnets and panel.reference and panel.seed == 42
    assert project.defaults.loras and project.defaults.model
