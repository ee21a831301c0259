"""Capabilities: what a workflow can do for somebody, by the names that the documents use."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing that a workflow can do."""

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_TO_IMAGE = "image_to_image"
    IMAGE_EDITING = "image_editing"
    INPAINTING = "inpainting"
    CONTROLNET = "controlnet"
    SUPER_RESOLUTION = "super_resolution"
    IMAGE_RELIGHTING = "image_relighting"
    LAYERED_GENERATION = "layered_generation"
    ANIME_GENERATION = "anime_generation"
    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    VIDEO_INPAINTING = "video_inpainting"
    ALPHA_VIDEO = "alpha_video"
    VIDEO_GENERATION = "video_generation"  # the local engine: key frames, pan and zoom
    TEXT_TO_AUDIO = "text_to_audio"
    IMAGE_TO_3D = "image_to_3d"
