from __future__ import annotations

import pytest

from comfyops.storycore.advanced_workflow_base import (
    WorkflowCapability,
    WorkflowRequest,
    WorkflowResult,
    WorkflowType,
    WorkflowValidationError,
)


@pytest.mark.parametrize("spelling", ["capabilities", "capabilities_required"])
@pytest.mark.parametrize("value", ["TEXT_TO_VIDEO", "text_to_video", WorkflowCapability.TEXT_TO_VIDEO])
def test_capabilities_may_be_text_or_enum_under_both_names(spelling, value):
    request = WorkflowRequest(workflow_type="video", parameters={"prompt": "x"}, **{spelling: [value]})
    assert request.capabilities == request.capabilities_required == [WorkflowCapability.TEXT_TO_VIDEO]
    assert request.needs() == (WorkflowCapability.TEXT_TO_VIDEO,)


def test_both_names_together_are_one_list():
    request = WorkflowRequest("x", capabilities=["SUPER_RESOLUTION"], capabilities_required=["TEXT_TO_VIDEO"])
    assert request.needs() == (WorkflowCapability.TEXT_TO_VIDEO, WorkflowCapability.SUPER_RESOLUTION)


def test_a_capability_added_later_counts():
    request = WorkflowRequest("x", capabilities=["TEXT_TO_VIDEO"])
    request.capabilities_required.append("SUPER_RESOLUTION")
    assert WorkflowCapability.SUPER_RESOLUTION in request.needs()


def test_inpainting_of_a_video_is_video_inpainting():
    assert WorkflowRequest("x", capabilities=["INPAINTING"]).needs() == (WorkflowCapability.VIDEO_INPAINTING,)
    picture = WorkflowRequest("x", WorkflowType.IMAGE, capabilities=["INPAINTING"])
    assert picture.needs() == (WorkflowCapability.INPAINTING,)
    assert WorkflowRequest("x", capabilities=["VIDEO_GENERATION"]).needs() == (WorkflowCapability.VIDEO_GENERATION,)


def test_the_prompt_comes_from_either_place():
    assert WorkflowRequest("first", parameters={"prompt": "second"}).prompt == "first"
    assert WorkflowRequest(workflow_type="video", parameters={"prompt": "second"}).prompt == "second"
    assert WorkflowRequest().prompt == ""


def test_without_capabilities_plain_generation_is_meant():
    assert WorkflowRequest("x").needs() == (WorkflowCapability.TEXT_TO_VIDEO,)
    assert WorkflowRequest("x", input_image="a.png").needs() == (WorkflowCapability.IMAGE_TO_VIDEO,)
    assert WorkflowRequest("x", "image").needs() == (WorkflowCapability.TEXT_TO_IMAGE,)


def test_the_documented_defaults():
    request = WorkflowRequest("x")
    assert (request.priority, request.quality_mode, request.output_format) == (5, "balanced", "default")
    assert request.max_inference_time is request.output_resolution is request.mask is request.input_image is None
    result = WorkflowResult(False)
    assert (result.output_paths, result.metadata, result.execution_time, list(result.frames)) == ([], {}, 0.0, [])


def test_the_size_stands_in_either_place():
    assert WorkflowRequest("x", parameters={"width": 8, "height": 16}).size() == (8, 16)
    assert WorkflowRequest("x", parameters={"width": 8, "height": 16}, output_resolution=(1, 2)).size() == (1, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workflow_type": "vidio"}, "video or image"),
        ({"capabilities": ["TEXT_TO_VIDO"]}, "did you mean TEXT_TO_VIDEO"),
        ({"capabilities": "FLYING"}, "There is no capability 'FLYING'"),
        ({"priority": 11}, "between 1 and 10"),
        ({"priority": "high"}, "not 'high'"),
        ({"priority": True}, "not True"),
        ({"capabilities": 5}, "no capability 5"),
        ({"parameters": [1]}, "not list"),
        ({"parameters": None}, "not NoneType"),
        ({"max_inference_time": float("nan")}, "not nan"),
        ({"max_inference_time": float("inf")}, "not inf"),
        ({"max_inference_time": "soon"}, "not 'soon'"),
        ({"output_resolution": 7}, "width, height"),
        ({"output_resolution": (1, 2, 3)}, "width, height"),
        ({"quality_mode": "best"}, "fast, balanced, quality"),
        ({"max_inference_time": 0}, "more than 0"),
    ],
)
def test_what_cannot_be_is_told_at_once(fields, message):
    with pytest.raises(WorkflowValidationError, match=message):
        WorkflowRequest("x", **fields)


def test_a_prompt_is_text():
    with pytest.raises(WorkflowValidationError, match="not int"):
        WorkflowRequest(7)
