from io import BytesIO

import pytest
from PIL import Image

from comfyops.backends.events import OutputKind
from comfyops.jobs.sniffing import HEAD, sniff


def picture(form):
    buffer = BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mime"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("TIFF", "image/tiff"),
    ],
)
def test_pictures_are_told_by_their_bytes_whatever_their_name(form, mime):
    found = sniff(picture(form)[:HEAD], "odd.bin")
    assert (found.mime, found.kind) == (mime, OutputKind.IMAGE)


@pytest.mark.parametrize(
    ("head", "name", "mime", "kind"),
    [
        (b"\0\0\0\x20ftypisom....", "a.mp4", "video/mp4", OutputKind.VIDEO),
        (b"\0\0\0\x20ftypqt  ....", "a", "video/quicktime", OutputKind.VIDEO),
        (b"\0\0\0\x20ftypM4A ....", "a.m4a", "audio/mp4", OutputKind.AUDIO),
        (b"\0\0\0\x20ftypavif....", "a", "image/avif", OutputKind.IMAGE),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "a", "video/webm", OutputKind.VIDEO),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a", "audio/wav", OutputKind.AUDIO),
        (b"fLaC\0\0\0\x22", "a", "audio/flac", OutputKind.AUDIO),
        (b"ID3\x04\0\0", "a", "audio/mpeg", OutputKind.AUDIO),
        (b"\xff\xfb\x90\x00", "a", "audio/mpeg", OutputKind.AUDIO),
        (b"OggS\0\x02" + b"\0" * 20 + b"OpusHead", "a.opus", "audio/ogg", OutputKind.AUDIO),
        (b"glTF\x02\0\0\0", "a", "model/gltf-binary", OutputKind.MODEL_3D),
        (b"solid cube\n", "a.stl", "model/stl", OutputKind.MODEL_3D),
        (b"\0" * 84, "a.stl", "model/stl", OutputKind.MODEL_3D),
        (b"v 0 0 0\n", "a.obj", "model/obj", OutputKind.MODEL_3D),
        (b'{"a": 1}', "a.json", "application/json", OutputKind.TEXT),
        ("für".encode(), "a.txt", "text/plain", OutputKind.TEXT),
        (b"", "a.txt", "text/plain", OutputKind.TEXT),
        (b"hello", "noname", "text/plain", OutputKind.TEXT),
        (b"\x40\0\0\0\0\0\0\0{\"latent_tensor\":", "a.latent", "application/octet-stream", OutputKind.LATENT),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml", OutputKind.IMAGE),
    ],
)  # fmt: skip
def test_other_kinds_are_told_by_bytes_then_by_name(head, name, mime, kind):
    found = sniff(head, name)
    assert (found.mime, found.kind) == (mime, kind)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.flac", "a.bin", "a"])
def test_a_file_that_is_not_what_its_name_says_is_of_no_kind(name):
    found = sniff(b"\x00\x01MZ garbage", name)
    assert (found.mime, found.kind) == ("application/octet-stream", OutputKind.OTHER)


def test_a_page_that_calls_itself_a_picture_is_no_picture():
    assert sniff(b"<script>alert(1)</script>", "a.png").mime == "application/octet-stream"


def test_a_text_cut_inside_a_character_is_still_a_text():
    assert sniff("ü".encode()[:1], "a.txt").kind is OutputKind.TEXT
    assert sniff("abcü".encode()[:-1], "a.txt").kind is OutputKind.TEXT
