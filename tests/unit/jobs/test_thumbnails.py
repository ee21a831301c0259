import struct
import zlib
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from comfyops.errors import MissingFileError
from comfyops.jobs.files import Files
from comfyops.jobs.thumbnails import EDGE, Thumbnails, thumbnail


def saved(tmp_path, form, size=(900, 300), mode="RGB", **options):
    path = tmp_path / f"p.{form}"
    Image.new(mode, size, 128 if mode in ("L", "I;16", "I") else "red").save(path, form, **options)
    return path


def opened(data):
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def bomb(path, width, height):
    """A PNG that claims to be huge."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000, 9))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "1"])
def test_a_picture_gets_a_small_one_of_its_shape(tmp_path, mode):
    small = opened(thumbnail(saved(tmp_path, "PNG", mode=mode) if mode != "1" else saved(tmp_path, "PNG"), "image/png"))
    assert (small.format, small.size) == ("WEBP", (EDGE, round(EDGE / 3)))


def test_a_small_picture_is_not_made_larger(tmp_path):
    assert opened(thumbnail(saved(tmp_path, "PNG", size=(20, 10)), "image/png")).size == (20, 10)


def test_the_picture_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(thumbnail(saved(tmp_path, "JPEG", exif=exif), "image/jpeg")).size == (round(EDGE / 3), EDGE)


def test_the_first_frame_of_a_video_is_taken(tmp_path):
    path = tmp_path / "v"
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for shade in (200, 20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), shade, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    small = opened(thumbnail(path, "video/mp4"))
    assert small.size == (64, 32)
    assert small.convert("L").getpixel((10, 10)) > 150


def test_a_picture_with_absurdly_many_pixels_is_not_opened(tmp_path):
    assert thumbnail(bomb(tmp_path / "b.png", 60_000, 60_000), "image/png") is None
    assert thumbnail(bomb(tmp_path / "b.png", 12_000, 7_000), "image/png") is None


@pytest.mark.parametrize("mime", ["image/png", "video/mp4", "video/webm", "audio/flac", "text/plain"])
def test_what_is_no_picture_has_no_thumbnail(tmp_path, mime):
    path = tmp_path / "x"
    path.write_bytes(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    assert thumbnail(path, mime) is None


def test_a_cut_picture_has_no_thumbnail(tmp_path):
    path = saved(tmp_path, "PNG", size=(400, 400))
    path.write_bytes(path.read_bytes()[:60])
    assert thumbnail(path, "image/png") is None


async def test_thumbnails_are_made_once_and_found_by_the_hash_of_their_file(tmp_path):
    files = Files(tmp_path / "files")
    thumbnails = Thumbnails(tmp_path / "thumbnails", files)
    source = files.incoming()
    source.parent.mkdir(parents=True)
    source.write_bytes(saved(tmp_path, "PNG").read_bytes())
    kept = await files.keep(source)
    assert thumbnails.path(kept.hash) is None
    path = await thumbnails.make(kept.hash, "image/png")
    assert path is not None
    assert path == thumbnails.path(kept.hash) == await thumbnails.make(kept.hash, "image/png")
    thumbnails.remove(kept.hash)
    assert thumbnails.path(kept.hash) is None


async def test_a_file_that_is_not_kept_has_no_thumbnail(tmp_path):
    thumbnails = Thumbnails(tmp_path / "thumbnails", Files(tmp_path / "files"))
    with pytest.raises(MissingFileError):
        await thumbnails.make("0" * 64, "image/png")
    with pytest.raises(MissingFileError):
        thumbnails.path("../../etc")
