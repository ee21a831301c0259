from __future__ import annotations

import random

from PIL import Image, ImageFilter

from comfyops.storycore.quality import measured_quality


def noise(seed: int) -> Image.Image:
    return Image.frombytes("RGB", (64, 64), random.Random(seed).randbytes(64 * 64 * 3))


def test_a_still_sharp_video_scores_more_than_a_flickering_and_a_blurred_one():
    still = measured_quality([noise(1)] * 8)
    flickering = measured_quality([noise(seed) for seed in range(8)])
    blurred = measured_quality([noise(1).filter(ImageFilter.GaussianBlur(8))] * 8)
    assert still["temporal_consistency"] == 1.0 > flickering["temporal_consistency"]
    assert still["sharpness_score"] > blurred["sharpness_score"]
    assert still["quality_score"] > max(flickering["quality_score"], blurred["quality_score"])
    assert all(0 <= value <= 1 for scores in (still, flickering, blurred) for value in scores.values())


def test_few_frames_and_none():
    assert measured_quality([]) == {}
    assert measured_quality([Image.new("L", (8, 8), 9)])["temporal_consistency"] == 1.0


def test_frames_are_read_once_however_many_there_are():
    class Counting(list):
        read = 0

        def __iter__(self):
            for frame in super().__iter__():
                self.read += 1
                yield frame

    frames = Counting([noise(1)] * 500)
    measured_quality(frames)
    assert frames.read == 500
