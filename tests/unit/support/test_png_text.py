from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from comfyops.support import png_text


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text, zip=keyword.startswith("z"))
    buffer = BytesIO()
    Image.radial_gradient("L").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_a_text_goes_in_and_comes_out_and_the_pixels_stay(text):
    data = png_text.with_text(png(prompt="{}", zipped="ü" * 50), "comfyops", text)
    assert png_text.texts(data) == {"prompt": "{}", "zipped": "ü" * 50, "comfyops": text}
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert image.tobytes() == Image.radial_gradient("L").tobytes()


def test_other_programs_read_the_text():
    data = png_text.with_text(png(), "comfyops", "größer 漢字")
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert image.text["comfyops"] == "größer 漢字"


def test_a_second_text_takes_the_place_of_the_first():
    once = png_text.with_text(png(), "comfyops", "one")
    assert png_text.with_text(once, "comfyops", "two") == png_text.with_text(png(), "comfyops", "two")


@given(st.integers(0, 10**6))
def test_a_png_cut_anywhere_is_refused(cut):
    data = png(prompt="x")
    part = data[: cut % len(data)]
    with pytest.raises(ValueError):
        png_text.with_text(part, "comfyops", "x")
    with pytest.raises(ValueError):
        png_text.texts(part)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tail):
    with pytest.raises(ValueError):
        png_text.texts(png()[:40] + tail)
