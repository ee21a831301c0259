from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyops import storyboard
from comfyops.errors import ComfyOpsError, NotJsonError, StoryboardError
from comfyops.storyboard import prompts, seeds
from comfyops.storyboard.sizes import Ratio
from comfyops.workflows.node_types import shipped


def shot(number: int, **technical: object) -> dict[str, object]:
    return {
        "shot_id": f"shot_{number:02}",
        "scene_id": "scene_01",
        "shot_number": number,
        "version": "v1",
        "title": f"Title {number}",
        "description": "Description",
        "duration_seconds": 6,
        "prompt_modules": {
            "subject": f"Subject {number}",
            "camera": "Medium shot, eye level, static",
            "lighting": "Natural lighting, soft shadows",
            "color": "Neutral palette",
            "style": "Cinematic realism",
            "technical": {
                "aspect_ratio": "16:9",
                "resolution": "1920x1080",
                "cfg_scale": 7.5,
                "steps": 30,
                "negative_prompt": "low quality, blurry",
                **technical,
            },
        },
    }


def write(folder: Path, shots: list[object], **files: object) -> Path:
    project = {
        "schema_version": "1.0",
        "project_id": "storycore_My Film",
        "config": {"hackathon_mode": True, "global_seed": 123, "target_aspect_ratio": "4:3"},
        "coherence_anchors": {
            "style_anchor_id": "STYLE_CINE_REALISM_V1",
            "palette_id": "PALETTE_SUNSET_01",
            "lighting_direction": "right",
            "lighting_temperature": "warm",
            "perspective_type": "2-point",
        },
        "asset_manifest": {},
    }
    board = {"storyboard_id": "sb_x", "project_id": "storycore_My Film", "shots": shots}
    for name, data in {"project.json": project, "storyboard.json": board, **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data))
    return folder


def test_a_shot_becomes_a_panel_with_its_modules_and_technical_values(tmp_path):
    project = storyboard.load(write(tmp_path, [shot(2), shot(1, seed=42)]))
    assert (project.id, project.title, project.seed) == ("storycore_My-Film", "My Film", 123)
    first, second = project.panels()
    assert [first.panel.id, second.panel.id] == ["shot_01", "shot_02"]
    settings = project.settings_of(first)
    assert (settings.steps, settings.cfg, settings.size) == (30, 7.5, Ratio(16, 9))
    assert prompts.positive(project, first) == (
        "Subject 1, Neutral palette, Cinematic realism, Medium shot, eye level, static, Natural lighting, "
        "soft shadows, cine realism style, sunset palette, warm light, lit from the right, 2-point perspective"
    )
    assert prompts.negative(project, first) == "low quality, blurry"


def test_a_shots_own_seed_is_used_and_others_are_derived(tmp_path):
    project = storyboard.load(write(tmp_path, [shot(1, seed=42), shot(2), shot(3, seed=-1)]))
    plans = storyboard.plan(project, shipped())
    assert [made.seed_source for made in plans] == ["given", "derived", "drawn"]
    assert plans[0].picture.seed == 42
    assert plans[1].picture.seed == seeds.derive(123, "shot_02")


def test_sequences_order_the_shots_and_the_rest_follows(tmp_path):
    folder = write(
        tmp_path,
        [shot(1), shot(2), shot(3)],
        **{
            "sequences/sequence_a.json": {"id": "later", "name": "Later", "order": 2, "shot_ids": ["shot_01"]},
            "sequences/sequence_b.json": {"id": "first", "name": "First", "order": 1, "shotIds": ["shot_03", "no"]},
        },
    )
    project = storyboard.load(folder)
    assert [(item.id, [s.id for s in item.shots]) for item in project.sequences] == [
        ("first", ["shot_03"]),
        ("later", ["shot_01"]),
        ("storyboard", ["shot_02"]),
    ]


def test_a_file_in_the_folder_stands_for_the_folder(tmp_path):
    write(tmp_path, [shot(1)])
    assert storyboard.load(tmp_path / "project.json") == storyboard.load(tmp_path)


def test_a_storycore_project_can_be_written_as_yaml(tmp_path):
    project = storyboard.load(write(tmp_path, [shot(1), shot(2, seed=-1)]))
    path = tmp_path / "board.yaml"
    path.write_text(storyboard.dumps(project, tmp_path), encoding="utf-8")
    assert storyboard.load(path) == project


@pytest.mark.parametrize(
    ("shots", "words"),
    [
        ([], "storyboard.json: shots"),
        ([{}], "shots[0].shot_id"),
        ([shot(1, steps=0)], "shots[0].prompt_modules.technical.steps"),
        ([shot(1, seed=-5)], "technical.seed"),
        ([shot(1, aspect_ratio="wide")], "'wide' is no ratio"),
        ([shot(1, aspect_ratio="0:9")], "not between 1:8 and 8:1"),
        ([shot(1), shot(1)], "2 shots with the shot_id shot_01"),
        ([{**shot(1), "shot_id": "../.."}], "to make an id from"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, shots, words):
    with pytest.raises(ComfyOpsError) as caught:
        storyboard.load(write(tmp_path, shots))
    assert words in caught.value.message


def test_a_file_that_is_no_json_is_told(tmp_path):
    write(tmp_path, [shot(1)])
    (tmp_path / "project.json").write_text("{")
    with pytest.raises(NotJsonError, match=r"project\.json is not JSON"):
        storyboard.load(tmp_path)


def test_a_list_is_no_project(tmp_path):
    write(tmp_path, [shot(1)])
    (tmp_path / "project.json").write_text("[]")
    with pytest.raises(StoryboardError):
        storyboard.load(tmp_path)
