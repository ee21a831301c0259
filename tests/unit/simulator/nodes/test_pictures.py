"""Pictures and masks are really computed: sizes and pixels against values worked out by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ramp(width: int, height: int) -> Any:
    """A picture whose red is the column, green the row, blue 0."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x / 100, y / 100, np.zeros_like(x)], axis=-1)[None]


def mask(*rows: str) -> Any:
    """A mask from rows of digits: 1 = 1.0, 5 = 0.5, 0 = 0.0."""
    values = {"0": 0.0, "1": 1.0, "5": 0.5}
    return np.asarray([[[values[char] for char in row] for row in rows]], dtype=np.float32)


async def test_empty_image_has_its_colour(bench: Bench) -> None:
    picture = await bench.out("EmptyImage", width=3, height=2, batch_size=2, color=0x336699)
    assert picture.shape == (2, 2, 3, 3)
    assert np.allclose(picture * 255, (0x33, 0x66, 0x99))


async def test_outputs_cannot_be_changed_by_the_next_node(bench: Bench) -> None:
    picture = await bench.out("ImageInvert", image=ramp(4, 4))
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0


async def test_scaling_down_by_area_gives_means(bench: Bench) -> None:
    picture = await bench.out("ImageScale", image=ramp(4, 4), upscale_method="area", width=2, height=2, crop="disabled")
    assert np.allclose(picture[0, 0, 0], (0.005, 0.005, 0))
    assert np.allclose(picture[0, 1, 1], (0.025, 0.025, 0))


async def test_scaling_up_bilinear_interpolates_between_pixel_centres(bench: Bench) -> None:
    picture = await bench.out("ImageScaleBy", image=ramp(2, 1), upscale_method="bilinear", scale_by=2.0)
    assert picture.shape == (1, 2, 4, 3)
    assert np.allclose(picture[0, 0, :, 0] * 100, (0, 0.25, 0.75, 1))


async def test_nearest_exact_takes_the_middle_pixel(bench: Bench) -> None:
    picture = await bench.out(
        "ImageScale", image=ramp(9, 1), upscale_method="nearest-exact", width=3, height=1, crop="disabled"
    )
    assert np.allclose(picture[0, 0, :, 0] * 100, (1, 4, 7))


async def test_scale_with_one_side_zero_keeps_the_shape(bench: Bench) -> None:
    picture = await bench.out(
        "ImageScale", image=ramp(40, 20), upscale_method="bilinear", width=0, height=10, crop="disabled"
    )
    assert picture.shape == (1, 10, 20, 3)


async def test_centre_crop_cuts_both_sides_before_scaling(bench: Bench) -> None:
    picture = await bench.out(
        "ImageScale", image=ramp(8, 4), upscale_method="nearest-exact", width=4, height=4, crop="center"
    )
    assert np.allclose(picture[0, 0, :, 0] * 100, (2, 3, 4, 5))


async def test_total_pixels_uses_megapixels_of_1024_squared(bench: Bench) -> None:
    picture = await bench.out(
        "ImageScaleToTotalPixels",
        image=ramp(100, 50),
        upscale_method="area",
        megapixels=0.01,
        resolution_steps=1,
    )
    assert picture.shape == (1, 72, 145, 3)


async def test_crop_moves_its_corner_into_the_picture(bench: Bench) -> None:
    inside = await bench.out("ImageCrop", image=ramp(10, 10), width=3, height=2, x=4, y=5)
    outside = await bench.out("ImageCrop", image=ramp(10, 10), width=3, height=2, x=50, y=50)
    assert np.allclose(inside[0, 0, 0] * 100, (4, 5, 0))
    assert inside.shape == (1, 2, 3, 3)
    assert outside.shape == (1, 1, 1, 3)


async def test_batch_takes_the_size_of_the_first_and_the_channels_of_the_richest(bench: Bench) -> None:
    both = await bench.out("ImageBatch", image1=ramp(6, 4), image2=np.ones((2, 8, 8, 4), dtype=np.float32))
    assert both.shape == (3, 4, 6, 4)
    assert (both[0, ..., 3] == 1).all()


async def test_from_batch_stays_inside_the_batch(bench: Bench) -> None:
    five = np.repeat(np.arange(5, dtype=np.float32)[:, None, None, None] / 10, 3, axis=-1)
    some = await bench.out("ImageFromBatch", image=five, batch_index=3, length=9)
    last = await bench.out("ImageFromBatch", image=five, batch_index=99, length=1)
    assert np.allclose(some[:, 0, 0, 0], (0.3, 0.4))
    assert np.allclose(last[:, 0, 0, 0], 0.4)


async def test_rebatch_gives_a_list_of_batches(bench: Bench) -> None:
    result = await bench.run("RebatchImages", images=[np.zeros((5, 2, 2, 3), np.float32)], batch_size=[2])
    assert [len(batch) for batch in result.outputs[0]] == [2, 2, 1]


async def test_stitching_puts_a_gap_of_the_colour_between(bench: Bench) -> None:
    picture = await bench.out(
        "ImageStitch",
        image1=np.zeros((1, 4, 3, 3), np.float32),
        image2=np.ones((1, 4, 2, 3), np.float32),
        direction="right",
        match_image_size=True,
        spacing_width=2,
        spacing_color="red",
    )
    assert picture.shape == (1, 4, 7, 3)
    assert np.allclose(picture[0, 0, :, 0], (0, 0, 0, 1, 1, 1, 1))
    assert np.allclose(picture[0, 0, :, 1], (0, 0, 0, 0, 0, 1, 1))


async def test_rotation_is_clockwise(bench: Bench) -> None:
    picture = await bench.out("ImageRotate", image=ramp(3, 2), rotation="90 degrees")
    assert picture.shape == (1, 3, 2, 3)
    assert np.allclose(picture[0, 0, 0] * 100, (0, 1, 0))  # what was at the bottom left


async def test_outpainting_border_is_grey_and_masked(bench: Bench) -> None:
    result = await bench.run("ImagePadForOutpaint", image=ramp(20, 20), left=4, top=0, right=0, bottom=0, feathering=5)
    picture, border = result.outputs
    assert picture.shape == (1, 20, 24, 3)
    assert (picture[0, :, :4] == 0.5).all()
    assert (border[0, :, :4] == 1).all()
    assert np.allclose(border[0, 10, 4:10], (1, 0.64, 0.36, 0.16, 0.04, 0))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("normal", 0.8), ("multiply", 0.32), ("screen", 0.88), ("overlay", 0.64), ("difference", 0.0)],
)
async def test_blend_modes(bench: Bench, mode: str, expected: float) -> None:
    under, over = np.full((1, 2, 2, 3), 0.4, np.float32), np.full((1, 2, 2, 3), 0.8, np.float32)
    picture = await bench.out("ImageBlend", image1=under, image2=over, blend_factor=1.0, blend_mode=mode)
    assert np.allclose(picture, expected, atol=1e-6)


async def test_blur_keeps_a_plain_picture_and_spreads_a_point(bench: Bench) -> None:
    plain = np.full((1, 9, 9, 3), 0.3, np.float32)
    assert np.allclose(await bench.out("ImageBlur", image=plain, blur_radius=2, sigma=1.0), 0.3, atol=1e-6)
    point = np.zeros((1, 9, 9, 3), np.float32)
    point[0, 4, 4] = 1
    blurred = await bench.out("ImageBlur", image=point, blur_radius=2, sigma=1.0)
    assert np.isclose(blurred[..., 0].sum(), 1, atol=1e-5)
    assert blurred[0, 4, 4, 0] > blurred[0, 4, 5, 0] > blurred[0, 4, 6, 0] > 0 == blurred[0, 4, 7, 0]


async def test_quantizing_leaves_few_colours(bench: Bench) -> None:
    for dither in ("none", "floyd-steinberg", "bayer-4"):
        picture = await bench.out("ImageQuantize", image=ramp(40, 40), colors=4, dither=dither)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 4


async def test_canny_finds_the_outline_of_a_disc(bench: Bench) -> None:
    y, x = np.mgrid[0:41, 0:41]
    soft = np.clip(10.3 - np.hypot(x - 20, y - 20), 0, 1).astype(np.float32)
    edges = await bench.out(
        "Canny", image=np.repeat(soft[None, ..., None], 3, -1), low_threshold=0.2, high_threshold=0.5
    )
    found = np.hypot(*(np.argwhere(edges[0, ..., 0] == 1) - 20).T)
    assert len(found) > 30
    assert (np.abs(found - 10) < 2).all()


async def test_morphology_dilates_by_the_kernel(bench: Bench) -> None:
    point = np.zeros((1, 7, 7, 3), np.float32)
    point[0, 3, 3] = 1
    grown = await bench.out("Morphology", image=point, operation="dilate", kernel_size=3)
    assert grown[..., 0].sum() == 9
    assert (await bench.out("Morphology", image=grown, operation="erode", kernel_size=3))[..., 0].sum() == 1


async def test_yuv_and_back_gives_the_same_colours(bench: Bench) -> None:
    parts = (await bench.run("ImageRGBToYUV", image=ramp(8, 8))).outputs
    assert np.allclose(await bench.out("ImageYUVToRGB", Y=parts[0], U=parts[1], V=parts[2]), ramp(8, 8), atol=1e-5)


async def test_image_size_is_told_to_the_client_too(bench: Bench) -> None:
    assert (await bench.run("GetImageSize", image=ramp(5, 4))).outputs == (5, 4, 1)
    assert "5" in bench.host.texts[0]


async def test_mask_rules(bench: Bench) -> None:
    base, patch = mask("111", "555", "000"), mask("15")
    results = {
        "multiply": ("111", "555", "000"),
        "add": ("111", "111", "000"),
        "subtract": ("111", "500", "000"),
    }
    for operation, rows in results.items():
        got = await bench.out("MaskComposite", destination=base, source=patch, x=1, y=1, operation=operation)
        expected = mask(*rows)
        if operation == "multiply":
            expected[0, 1, 2] = 0.25
        if operation == "subtract":
            expected[0, 1] = (0.5, 0, 0)
        if operation == "add":
            expected[0, 1] = (0.5, 1, 1)
        assert np.allclose(got, expected), operation


async def test_mask_grows_like_a_plus_or_like_a_square(bench: Bench) -> None:
    point = mask("00000", "00000", "00100", "00000", "00000")
    assert (await bench.out("GrowMask", mask=point, expand=1, tapered_corners=True)).sum() == 5
    assert (await bench.out("GrowMask", mask=point, expand=1, tapered_corners=False)).sum() == 9
    assert (await bench.out("GrowMask", mask=point, expand=-1, tapered_corners=True)).sum() == 0


async def test_feather_threshold_crop_invert(bench: Bench) -> None:
    solid = await bench.out("SolidMask", value=1.0, width=6, height=3)
    feathered = await bench.out("FeatherMask", mask=solid, left=4, top=0, right=0, bottom=0)
    assert np.allclose(feathered[0, 1], (0.25, 0.5, 0.75, 1, 1, 1))
    assert (await bench.out("ThresholdMask", mask=feathered, value=0.5)).sum() == 4 * 3
    assert (await bench.out("CropMask", mask=feathered, x=1, y=1, width=2, height=9)).shape == (1, 2, 2)
    assert np.allclose(await bench.out("InvertMask", mask=feathered), 1 - feathered)


async def test_alpha_is_the_inverse_of_a_mask(bench: Bench) -> None:
    joined = await bench.out("JoinImageWithAlpha", image=ramp(3, 1), alpha=mask("051"))
    assert np.allclose(joined[0, 0, :, 3], (1, 0.5, 0))
    colours, transparent = (await bench.run("SplitImageWithAlpha", image=joined)).outputs
    assert np.allclose(colours, ramp(3, 1))
    assert np.allclose(transparent, mask("051"))


async def test_colour_to_mask_wants_the_exact_colour(bench: Bench) -> None:
    picture = np.zeros((1, 1, 3, 3), np.float32)
    picture[0, 0, 1] = np.asarray((0x33, 0x66, 0x99)) / 255
    found = await bench.out("ImageColorToMask", image=picture, color=0x336699)
    assert found.tolist() == [[[0, 1, 0]]]


async def test_composite_respects_mask_and_edges(bench: Bench) -> None:
    black, white = np.zeros((1, 4, 4, 3), np.float32), np.ones((1, 2, 2, 3), np.float32)
    over = await bench.out("ImageCompositeMasked", destination=black, source=white, x=3, y=-1, resize_source=False)
    assert over.sum() == 3  # one pixel
    half = await bench.out(
        "ImageCompositeMasked", destination=black, source=white, x=0, y=0, resize_source=True, mask=mask("5")
    )
    assert np.allclose(half, 0.5)


@pytest.mark.parametrize(("mode", "colour", "alpha"), [("SRC_OVER", 1.0, 1.0), ("DST_OUT", 0.0, 0.0), ("XOR", 0, 0)])
async def test_porter_duff_with_opaque_pictures(bench: Bench, mode: str, colour: float, alpha: float) -> None:
    opaque = np.zeros((1, 2, 2), np.float32)
    result = await bench.run(
        "PorterDuffImageComposite",
        source=np.ones((1, 2, 2, 3), np.float32),
        source_alpha=opaque,
        destination=np.zeros((1, 2, 2, 3), np.float32),
        destination_alpha=opaque,
        mode=mode,
    )
    assert np.allclose(result.outputs[0], colour)
    assert np.allclose(1 - result.outputs[1], alpha)


async def test_tiles_put_together_give_the_picture_again(bench: Bench) -> None:
    picture = ramp(150, 100)
    tiles = await bench.out("SplitImageToTileList", image=picture, tile_width=64, tile_height=64, overlap=16)
    assert {tile.shape for tile in tiles} == {(1, 64, 64, 3)}
    again = await bench.out(
        "ImageMergeTileList", image_list=list(tiles), final_width=[150], final_height=[100], overlap=[16]
    )
    assert np.allclose(again, picture, atol=1e-4)


async def test_loading_turns_by_exif_and_takes_the_mask_from_alpha(bench: Bench) -> None:
    picture = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    picture.putpixel((0, 0), (0, 0, 255, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    picture.save(bench.host.input_folder / "turned.png", exif=exif)
    colours, hidden = (await bench.run("LoadImage", image="turned.png")).outputs
    assert colours.shape == (1, 4, 2, 3)
    assert hidden.sum() == 1
    assert hidden[0, 0, 1] == 1
    assert colours[0, 0, 1].tolist() == [0, 0, 1]


async def test_loading_without_alpha_gives_a_mask_of_64_zeros(bench: Bench) -> None:
    Image.new("RGB", (5, 3)).save(bench.host.output_folder / "x.png")
    hidden = (await bench.run("LoadImage", image="x.png [output]")).outputs[1]
    assert hidden.shape == (1, 64, 64)
    assert not hidden.any()


async def test_animated_pictures_load_as_a_batch(bench: Bench) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(bench.host.input_folder / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert (await bench.out("LoadImage", image="a.webp")).shape == (3, 8, 8, 3)


async def test_a_file_that_is_no_picture_fails_as_on_the_real_server(bench: Bench) -> None:
    (bench.host.input_folder / "bad.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify image file") as caught:
        await bench.run("LoadImage", image="bad.png")
    assert type(caught.value).__name__ == "UnidentifiedImageError"


async def test_pictures_survive_saving_and_loading_bit_by_bit(bench: Bench) -> None:
    steps = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1).repeat(3, -1) / np.float32(255)
    saved = (await bench.run("SaveImage", images=steps, filename_prefix="x")).ui
    assert saved is not None
    data = (bench.host.output_folder / saved["images"][0]["filename"]).read_bytes()
    assert (np.asarray(Image.open(io.BytesIO(data)))[..., 0].ravel() == np.arange(256)).all()
