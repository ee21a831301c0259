"""Workflows inside pictures, films, sounds and models."""

from __future__ import annotations

import json

import pytest

from comfyops.errors import NotJsonError, NoWorkflowError, UiFormatError
from comfyops.workflows import containers, embedded, node_types
from tests.unit.workflows.builders import sd15
from tests.unit.workflows.media import KINDS
from tests.unit.workflows.ui_builder import picture_chain

TEXTS = {"prompt": json.dumps(sd15(n6_text="灯台 🗼")), "workflow": json.dumps(picture_chain())}


@pytest.mark.parametrize("kind", KINDS)
def test_graph_and_workflow_are_read_from_each_kind_of_file(kind: str) -> None:
    data = KINDS[kind](TEXTS)
    assert embedded.is_picture(data)
    found = embedded.workflows(data, "x")
    assert found.prompt is not None and found.prompt["6"].inputs["text"] == "灯台 🗼"  # type: ignore[index]
    assert found.ui == picture_chain()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_the_editors_workflow_alone_is_converted(kind: str) -> None:
    data = KINDS[kind]({"workflow": TEXTS["workflow"]})
    found = embedded.workflows(data, "x")
    assert found.prompt is None
    assert set(found.graph(node_types.shipped("0.33.0")).nodes) == {"1", "2", "3"}
    with pytest.raises(UiFormatError):
        embedded.read(data, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_workflow_is_told(kind: str) -> None:
    with pytest.raises(NoWorkflowError, match=r"x\.bin"):
        embedded.read(KINDS[kind]({}), "x.bin")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_read_or_told(kind: str) -> None:
    data = KINDS[kind](TEXTS)
    for end in {*range(0, 200, 3), *range(0, len(data), max(1, len(data) // 60))}:
        try:
            embedded.workflows(data[:end], "x")
        except (NoWorkflowError, NotJsonError):
            continue


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_any_byte_changed_is_read_or_told(kind: str) -> None:
    data = KINDS[kind](TEXTS)
    for at in {*range(0, min(300, len(data)), 3), *range(0, len(data), max(1, len(data) // 40))}:
        for byte in (0, 255):
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            try:
                containers.texts(changed)
            except ValueError:
                continue


def test_damage_in_one_part_leaves_the_other() -> None:
    found = embedded.workflows(KINDS["png"]({**TEXTS, "prompt": "{"}), "x")
    assert found.prompt is None and found.ui is not None
