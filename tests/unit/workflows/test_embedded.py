"""Workflows inside pictures."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image, PngImagePlugin

from comfyops.errors import NotJsonError, NoWorkflowError, UiFormatError, WorkflowFormatError
from comfyops.support import png_text
from comfyops.workflows import embedded
from tests.unit.workflows.builders import sd15


def picture(**texts: str) -> bytes:
    """A small PNG with these texts."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "png", pnginfo=info)
    return file.getvalue()


def test_the_graph_of_a_saved_picture_is_read() -> None:
    graph = embedded.read(picture(prompt=json.dumps(sd15()), workflow="{}"))
    assert list(graph.nodes) == list(sd15())
    assert embedded.is_picture(picture()) and not embedded.is_picture(b"{}")


def test_json_is_read_as_it_is() -> None:
    assert list(embedded.read(json.dumps({"prompt": sd15()}).encode()).nodes) == list(sd15())


def test_words_of_any_language_survive_in_a_picture() -> None:
    data = png_text.with_text(picture(), "prompt", json.dumps(sd15(n6_text="灯台 🗼"), ensure_ascii=False))
    assert embedded.read(data)["6"].inputs["text"] == "灯台 🗼"  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (picture(), NoWorkflowError, "x.png .* without an embedded workflow"),
        (picture()[:-5], NoWorkflowError, "x.png .*the PNG is cut short"),
        (picture(prompt="{"), NotJsonError, "The workflow inside x.png is not JSON"),
        (picture(prompt='{"nodes": []}'), UiFormatError, "x.png is a workflow in UI format"),
        (picture(prompt="[]"), WorkflowFormatError, "The workflow inside x.png is not a workflow"),
        (b"\xff\xd8\xff\xe0 a JPEG", NoWorkflowError, "x.png"),
        (b"\xfe\xff no file", NotJsonError, "x.png is not JSON"),
    ],
)
def test_what_cannot_be_read_is_told(data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        embedded.read(data, "x.png")
