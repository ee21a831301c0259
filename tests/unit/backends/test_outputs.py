"""What outputs are, and where they may be written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.backends.answers import history
from comfyops.backends.events import Outcome, Output, OutputKind
from comfyops.backends.outputs import kind_of, local_name, local_path, outputs_of_node
from comfyops.errors import UnsafeNameError
from tests.unit.backends.recorded import both_versions, recorded


def one(key, item):
    (output,) = outputs_of_node("7", {key: [item]})
    return output


@both_versions
def test_every_kind_of_output_in_the_recordings_is_told_apart(version):
    entry = recorded(version, "output_kinds")["legacy"]["history"]
    (run_id,) = entry
    finished, _ = history(entry, run_id)
    found = {(output.filename.rpartition(".")[2], output.kind) for output in finished.outputs if output.filename}
    assert found >= {
        ("png", OutputKind.IMAGE),
        ("webp", OutputKind.IMAGE),
        ("webm", OutputKind.VIDEO),
        ("mp4", OutputKind.VIDEO),
        ("flac", OutputKind.AUDIO),
        ("latent", OutputKind.LATENT),
    }
    assert [output.text for output in finished.outputs if output.kind is OutputKind.TEXT] == ["text"]
    assert {output.folder_type for output in finished.outputs if output.filename} == {"output", "temp"}


@both_versions
def test_a_failed_run_keeps_the_outputs_of_nodes_that_finished(version):
    entry = recorded(version, "output_kinds")["partial_outputs_on_error"]["history"]
    (run_id,) = entry
    finished, _ = history(entry, run_id)
    assert finished.outcome is Outcome.FAILED and finished.failure and finished.outputs


@pytest.mark.parametrize(
    ("key", "filename", "kind"),
    [
        ("images", "a.mp4", OutputKind.VIDEO),
        ("images", "A.WEBM", OutputKind.VIDEO),
        ("images", "no suffix", OutputKind.IMAGE),
        ("gifs", "a.gif", OutputKind.IMAGE),
        ("gifs", "a.mp4", OutputKind.VIDEO),
        ("gifs", "a.unknown", OutputKind.VIDEO),
        ("3d", "a.glb", OutputKind.MODEL_3D),
        ("files", "a.glb", OutputKind.MODEL_3D),
        ("audio", "a.x", OutputKind.AUDIO),
        ("latents", "a", OutputKind.LATENT),
        ("whatever", "a.bin", OutputKind.OTHER),
        ("images", "a.svg", OutputKind.IMAGE),
        ("text_file", "a.json", OutputKind.TEXT),
    ],
)
def test_the_name_decides_what_a_file_is_and_the_key_where_it_says_nothing(key, filename, kind):
    assert kind_of(key, filename) is kind


def test_three_d_models_may_be_plain_strings_with_folders_and_annotations():
    assert one("result", "mesh/a.glb") == Output("7", OutputKind.MODEL_3D, "a.glb", "mesh", "output")
    assert one("model_file", "a.obj [temp]") == Output("7", OutputKind.MODEL_3D, "a.obj", "", "temp")
    assert one("model_file", "odd.format") == Output("7", OutputKind.MODEL_3D, "odd.format", "", "output")
    assert list(outputs_of_node("7", {"model_file": "a.glb"})) == [one("model_file", "a.glb")]
    result = ["a.glb", {"position": {"x": 1}}, "temp/bg_1.png", None]
    assert [output.filename for output in outputs_of_node("7", {"result": result})] == ["a.glb"]


def test_a_text_may_stand_alone_or_in_a_list():
    assert [output.text for output in outputs_of_node("7", {"text": "one"})] == ["one"]
    assert [output.text for output in outputs_of_node("7", {"text": ["one", "two"]})] == ["one", "two"]


@pytest.mark.parametrize(
    "ui",
    [
        None,
        [],
        "x",
        {},
        {"animated": [True]},
        {"images": [None, 5, {}, {"filename": None}, {"filename": ""}, {"filename": 3}]},
        {"images": None},
        {"tags": ["red", "blue"]},
        {"ui": {"nested": {"filename": "x"}}},
    ],
)
def test_what_is_no_output_is_left_out(ui):
    assert list(outputs_of_node("7", ui)) == []


def test_odd_fields_of_an_item_do_not_matter():
    item = {"filename": "a.png", "subfolder": None, "type": 5, "id": "x", "format": []}
    assert one("images", item) == Output("7", OutputKind.IMAGE, "a.png", "", "output")


def test_an_output_is_written_under_the_servers_subfolder_and_name(tmp_path):
    assert local_path(tmp_path, Output("7", OutputKind.IMAGE, "a b.png", "sub/dir")) == tmp_path / "sub/dir/a b.png"
    assert local_path(tmp_path, Output("7", OutputKind.TEXT, text="x")) == tmp_path / "node-7.txt"


@pytest.mark.parametrize(
    ("subfolder", "filename"),
    [("", "../a.png"), ("..", "a.png"), ("/etc", "a.png"), ("", "/etc/a.png"), ("", "C:\\a.png"), ("a/../..", "b")],
)
def test_a_name_that_leaves_the_folder_is_refused_but_has_a_safe_one(tmp_path, subfolder, filename):
    output = Output("7", OutputKind.IMAGE, filename, subfolder)
    with pytest.raises(UnsafeNameError):
        local_path(tmp_path, output)
    assert "/" not in local_name(output) and "\\" not in local_name(output) and ".." not in local_name(output)


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("con.png", "_con.png"),
        ("a:b*c.png", "a_b_c.png"),
        ("....", "node-7"),
        ("", "node-7"),
        ("x" * 500 + ".png", "x" * 120 + ".png"),
        ("grün 图.png", "grün 图.png"),
    ],
)
def test_safe_names_keep_what_they_can(filename, safe):
    assert local_name(Output("7", OutputKind.IMAGE, filename)) == safe


@given(st.text(max_size=300), st.text(max_size=50))
def test_any_name_can_be_made_safe(filename, node):
    name = local_name(Output(node, OutputKind.OTHER, filename))
    assert local_path(Path("/nowhere"), Output("", OutputKind.OTHER, name)) == Path("/nowhere") / name


def test_what_a_node_repeats_of_its_inputs_is_no_file():
    posing = {"filename": "others.png", "type": "output", "subfolder": ""}
    for key in ("result", "histogram", "input_bboxes", "compositor_bboxes"):
        assert list(outputs_of_node("7", {key: [posing, "others.glb"]})) == [], key
    assert [item.filename for item in outputs_of_node("7", {"result": ["a.glb", "others.glb", posing]})] == ["a.glb"]
