from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.storyboard import sizes
from comfyops.storyboard.sizes import Ratio, Size


@pytest.mark.parametrize(
    ("text", "found"),
    [("768x432", Size(768, 432)), (" 512 × 512 ", Size(512, 512)), ("16:9", Ratio(16, 9)), ("1:1", Ratio(1, 1))],
)
def test_sizes_and_ratios_are_read(text, found):
    parsed = sizes.parse(text)
    assert parsed == found and type(parsed) is type(found)
    assert sizes.parse(str(parsed)) == parsed


@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from([(512 * 512, 64), (1024 * 1024, 64), (1328 * 1328, 16)]))
def test_a_ratio_becomes_about_the_familys_number_of_pixels(width, height, family):
    if not 1 / 4 <= width / height <= 4:
        return
    pixels, multiple = family
    size = sizes.fit(Ratio(width, height), pixels, multiple)
    assert size.width % multiple == size.height % multiple == 0
    assert 0.75 < size.width * size.height / pixels < 1.3
    assert 0.75 < (size.width / size.height) / (width / height) < 1.33


def test_widescreen_sdxl_is_a_size_it_was_trained_on():
    assert sizes.fit(Ratio(16, 9), 1024 * 1024, 64) == Size(1344, 768)
