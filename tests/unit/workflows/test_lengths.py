"""Lengths and sizes that models make, against what ComfyUI's nodes declare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.errors import UsageError
from comfyops.workflows import lengths, node_types
from comfyops.workflows.lengths import LengthRule, SizeRule

TYPES = node_types.shipped()


def test_thirty_frames_of_wan_are_thirty_three_made_and_three_cut() -> None:
    assert lengths.WAN.request(30) == 33
    assert lengths.WAN.surplus(30) == 3
    assert [lengths.LTX.request(count) for count in (1, 2, 9, 10, 121)] == [1, 9, 9, 17, 121]


@given(st.integers(1, 8), st.integers(1, 2000))
def test_a_length_is_the_smallest_that_holds_the_frames(step: int, frames: int) -> None:
    made = LengthRule(step).request(frames)
    assert (made - 1) % step == 0 and frames <= made < frames + step


@given(st.sampled_from([8, 16, 32, 64]), st.integers(64, 4096), st.integers(64, 4096))
def test_a_size_is_the_smallest_that_holds_the_picture(multiple: int, width: int, height: int) -> None:
    for wanted, made in zip((width, height), SizeRule(multiple).request(width, height), strict=True):
        assert made % multiple == 0 and wanted <= made < wanted + multiple


@pytest.mark.parametrize("frames", [0, -1, 10**9])
def test_impossible_lengths_are_refused(frames: int) -> None:
    with pytest.raises(UsageError):
        lengths.WAN.request(frames)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UsageError):
        lengths.WAN_SIZE.request(0, 480)


@pytest.mark.parametrize(
    ("rule", "class_type"),
    [
        (lengths.WAN, "WanImageToVideo"),
        (lengths.WAN, "WanVaceToVideo"),
        (lengths.HUNYUAN_VIDEO, "EmptyHunyuanVideo15Latent"),
        (lengths.HUNYUAN_VIDEO, "HunyuanVideo15ImageToVideo"),
        (lengths.LTX, "EmptyLTXVLatentVideo"),
    ],
)
def test_length_rules_are_those_of_the_nodes(rule: LengthRule, class_type: str) -> None:
    declared = TYPES[class_type].input("length")
    assert declared is not None and declared.options["step"] == rule.step


@pytest.mark.parametrize(
    ("rule", "class_type"),
    [
        (lengths.WAN_SIZE, "WanVaceToVideo"),
        (lengths.HUNYUAN_SIZE, "EmptyHunyuanVideo15Latent"),
        (lengths.WAN_5B_SIZE, "Wan22ImageToVideoLatent"),
        (lengths.IMAGE_SIZE, "EmptyFlux2LatentImage"),
        (lengths.IMAGE_SIZE, "EmptySD3LatentImage"),
        (lengths.CELLS_8, "EmptyLatentImage"),
    ],
)
def test_size_rules_are_those_of_the_nodes(rule: SizeRule, class_type: str) -> None:
    declared = TYPES[class_type].input("width")
    assert declared is not None and declared.options["step"] == rule.multiple
