"""Frames, masks, mattes, video files and the local engine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from comfyops.errors import InputError, MissingFileError, UsageError
from comfyops.execution import alpha, frames, local_video, masks, mattes, video_files
from comfyops.execution.generation import GenerationRequest
from comfyops.execution.masks import MaskOptions
from comfyops.workflows.capabilities import Capability
from tests.unit.execution.pictures import SIZE, clip, disc, left_half


def test_frames_are_decoded_when_asked_for(tmp_path: Path) -> None:
    video_files.write(tmp_path / "a.mp4", clip(5), 10.0)
    mattes.write_webp(tmp_path / "b.webp", [picture.convert("RGBA") for picture in clip(4)], 10.0)
    disc("red").save(tmp_path / "c.png")
    found = frames.opened([tmp_path / "a.mp4", tmp_path / "b.webp", tmp_path / "c.png", tmp_path / "d.json"])
    assert (len(found), found.counts, found.size, found.fps) == (10, (5, 4, 1), SIZE, 10.0)
    assert len(list(found)) == 10 and len(found[3:7]) == 4
    assert found[-1].getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(IndexError):
        found[10]


def test_frames_are_saved_under_numbers(tmp_path: Path) -> None:
    video_files.write(tmp_path / "a.mp4", clip(3), 10.0)
    saved = frames.opened([tmp_path / "a.mp4"]).save(tmp_path / "frames", "shot")
    assert [path.name for path in saved] == ["shot_00001.png", "shot_00002.png", "shot_00003.png"]
    assert all(frames.opened([path]).size == SIZE for path in saved)


def test_equal_frames_that_an_encoder_joined_count_as_many(tmp_path: Path) -> None:
    still, moved = disc().convert("RGBA"), disc(at=30).convert("RGBA")
    mattes.write_webp(tmp_path / "a.webp", [still, still, still, moved, still], 16.0)
    assert len(frames.opened([tmp_path / "a.webp"])) == 5
    mattes.write_webp(tmp_path / "pairs.webp", [still, still, moved, moved], 16.0)
    assert len(frames.opened([tmp_path / "pairs.webp"], fps=16.0)) == 4
    mattes.write_webp(tmp_path / "same.webp", [still] * 4, 16.0)
    same = frames.opened([tmp_path / "same.webp"], fps=16.0, length=4)
    assert len(same) == len(list(same)) == 4


@pytest.mark.parametrize("name", ["broken.mp4", "broken.png", "empty.webp"])
def test_what_cannot_be_decoded_is_an_error_in_words(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no such thing" if "broken" in name else b"")
    with pytest.raises(InputError, match="can be read"):
        frames.opened([tmp_path / name])
    with pytest.raises(MissingFileError):
        frames.opened([tmp_path / f"not-{name}"])


def test_a_video_without_loss_comes_back_as_it_was(tmp_path: Path) -> None:
    video_files.write(tmp_path / "a.mp4", [left_half((101, 55)).convert("RGB")] * 2, 8.0, crf=video_files.LOSSLESS)
    for picture in frames.opened([tmp_path / "a.mp4"]):
        back, mask = np.asarray(picture.convert("L"), int), np.asarray(left_half((101, 55)), int)
        assert picture.size == (101, 55) and abs(back - mask).max() <= 2


def test_an_odd_size_is_kept(tmp_path: Path) -> None:
    video_files.write(tmp_path / "a.mp4", clip(3, (161, 97)), 8.0)
    assert frames.opened([tmp_path / "a.mp4"]).size == (161, 97)


def test_no_frames_make_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one frame"):
        video_files.write(tmp_path / "a.mp4", [], 8.0)
    assert not (tmp_path / "a.mp4").exists()


def test_masks_are_inverted_grown_and_blurred() -> None:
    plain = masks.prepared(left_half(), SIZE, MaskOptions())
    assert plain.getpixel((10, 60)) == 255 and plain.getpixel((190, 60)) == 0
    assert masks.prepared(left_half(), SIZE, MaskOptions(invert=True)).getpixel((10, 60)) == 0
    soft = masks.prepared(left_half(), SIZE, MaskOptions(blur=4))
    assert 0 < soft.getpixel((100, 60)) < 255
    grown = masks.prepared(left_half(), SIZE, MaskOptions(feather=6))
    assert grown.getpixel((99, 60)) == 255 and grown.getpixel((104, 60)) > 0 and grown.getpixel((120, 60)) == 0
    assert masks.prepared(left_half(), (50, 30), MaskOptions()).size == (50, 30)
    with pytest.raises(UsageError):
        MaskOptions(blur=-1)


def test_pictures_are_padded_and_cut_around_their_middle() -> None:
    large = masks.padded(disc(), (208, 128))
    assert large.size == (208, 128) and masks.cut(large, SIZE).tobytes() == disc().tobytes()
    assert len(list(masks.lengthened(clip(3), 5))) == 5 and len(list(masks.lengthened(clip(9), 5))) == 5
    assert list(masks.lengthened([], 5)) == []


def test_the_three_mattes_differ() -> None:
    frame = disc("navy").filter(ImageFilter.GaussianBlur(2))
    hard, soft = alpha.threshold(frame), alpha.edge_aware(frame)
    assert set(np.unique(hard)) == {0, 255}
    assert hard.getpixel((90, 60)) == 255 and hard.getpixel((5, 5)) == 0
    assert soft.getpixel((90, 60)) > 230 and soft.getpixel((5, 5)) < 25 and len(np.unique(soft)) > 10
    assert hard.tobytes() != soft.tobytes()


def test_the_edges_of_the_picture_shape_the_soft_matte() -> None:
    frame, coarse = disc("navy"), Image.new("L", SIZE)
    coarse.paste(255, (52, 22, 128, 98))  # a square around the disc
    refined = np.asarray(alpha.edge_aware(frame, coarse), float)
    truth = np.asarray(alpha.threshold(frame), float)
    inside_square = np.asarray(coarse) > 0
    assert refined[inside_square & (truth > 0)].mean() > refined[inside_square & (truth == 0)].mean() + 40


def test_a_models_alpha_is_what_threshold_starts_from() -> None:
    own = Image.linear_gradient("L").resize(SIZE)
    share = [np.asarray(alpha.threshold(disc(), own, level)).mean() / 255 for level in (0.2, 0.5, 0.8)]
    assert share == pytest.approx([0.8, 0.5, 0.2], abs=0.03)


def film(**more: object) -> GenerationRequest:
    given = {"prompt": "A storm. A lighthouse.", "width": 160, "height": 96, "frames": 25, **more}
    return GenerationRequest(capabilities=(Capability.VIDEO_GENERATION,), **given)  # type: ignore[arg-type]


def test_the_local_engine_gives_the_frames_asked_for_and_says_what_it_is(tmp_path: Path) -> None:
    result = local_video.generate(film(), tmp_path)
    (path,) = result.outputs
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        assert sum(1 for _ in source.decode(stream)) == 25
        assert (stream.codec_context.width, stream.codec_context.height) == (160, 96)
        assert "LOCAL ENGINE" in source.metadata["title"]
    assert result.engine == "local" and "no model" in result.warnings[0]
    corner = result.frames[12].crop((0, 0, 80, 20))
    assert np.asarray(corner).max() > 150  # the label


def test_the_local_engine_draws_the_same_twice_and_moves(tmp_path: Path) -> None:
    digests = [
        [
            hashlib.sha256(picture.tobytes()).hexdigest()
            for picture in local_video.generate(film(seed=seed), folder).frames
        ]
        for seed, folder in ((1, tmp_path / "a"), (1, tmp_path / "b"), (2, tmp_path / "c"))
    ]
    assert digests[0] == digests[1] != digests[2]
    assert len(set(digests[0])) > 20


def test_the_local_engine_pans_over_given_pictures(tmp_path: Path) -> None:
    result = local_video.generate(
        film(images=(Image.new("RGB", (640, 480), "red"), disc("green")), frames=40), tmp_path
    )
    first, last = result.frames[0].getpixel((80, 90)), result.frames[-1].getpixel((3, 93))
    assert first[0] > 200 and last[1] > 90 and len(result.frames) == 40


@pytest.mark.parametrize("wrong", [{"width": 10}, {"frames": -1}, {"fps": 0.5}, {"fps": 1000.0}])
def test_the_local_engine_refuses_what_it_cannot_make(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        local_video.generate(film(**wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_same_frames_give_the_same_bytes_each_time() -> None:
    slopes = np.mgrid[0:64, 0:96].sum(0)
    pictures = [Image.fromarray(((slopes * 2 + 3 * step) % 256).astype(np.uint8)).convert("RGB") for step in range(9)]
    assert len({video_files.encoded(pictures, 24) for _ in range(40)}) == 1
