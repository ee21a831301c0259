"""What nodes show, as clients of the durable queue are told it."""

from __future__ import annotations

from typing import Any

from comfyops.gateway.durable import entries
from comfyops.gateway.durable.shown import as_kept
from comfyops.jobs.job import JobOutput
from comfyops.jobs.told import Told

JOB = "00000000-0000-4000-8000-000000000000"


def output(index: int, kind: str, filename: str, subfolder: str = "", folder: str = "output", **more: Any) -> JobOutput:
    return JobOutput(f"o{index}", JOB, index, "9", kind, filename, subfolder, folder, **more)


def test_a_key_that_we_do_not_know_stays_and_its_file_is_where_it_is_kept() -> None:
    item = {"filename": "a.mp4", "subfolder": "clips", "type": "temp", "format": "video/h264-mp4", "frame_rate": 8.0}
    shown = {"gifs": [{**item, "fullpath": "/srv/comfyui/temp/clips/a.mp4"}], "tags": ["x", 3, None], "ok": True}
    found = as_kept("9", shown, [output(0, "video", "a.mp4", "clips", "temp")])
    assert found == {"gifs": [{**item, "subfolder": f"jobs/{JOB}/clips"}], "tags": ["x", 3, None], "ok": True}


def test_models_that_are_named_in_words_stay_words() -> None:
    found = as_kept("9", {"3d": ["mesh/a.glb [output]"]}, [output(0, "3d", "a.glb", "mesh")])
    assert found == {"3d": [f"jobs/{JOB}/mesh/a.glb [output]"]}


def test_what_names_a_file_that_is_not_kept_is_not_told() -> None:
    shown = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}
    assert as_kept("9", shown, [output(0, "image", "b.png")]) is None
    assert as_kept("9", shown, []) is None


def test_nodes_of_which_nothing_is_known_are_listed_by_their_files() -> None:
    outputs = [output(0, "image", "b.png"), output(1, "text", "", text="words")]
    told = Told(shown={"9": {}, "7": {"resolution": [[512, 512]]}})
    file = {"filename": "b.png", "subfolder": f"jobs/{JOB}", "type": "output"}
    assert entries.shown_by_node(outputs, told) == {
        "7": {"resolution": [[512, 512]]},
        "9": {"images": [file], "text": ["words"]},
    }
