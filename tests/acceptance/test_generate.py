"""Asking for a capability from the command line: the size and length that were asked for, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import av
from PIL import Image

from tests.acceptance.processes import Server, comfyops


def test_a_picture_has_the_size_that_was_asked_for(server: Server, folder: Path) -> None:
    size = ("--width", "200", "--height", "120")
    done = comfyops(
        "generate",
        "text_to_image",
        "--prompt",
        "a fox",
        *size,
        "--json",
        "--server",
        server.url,
        "-o",
        "out",
        folder=folder,
    )
    assert done.data["engine"] == "simulator"
    with Image.open(folder / done.data["outputs"][0]) as picture:
        assert picture.size == (200, 120)


def test_ten_frames_asked_are_ten_frames_in_the_file(server: Server, folder: Path) -> None:
    options = ("--prompt", "a fox", "--frames", "10", "--width", "200", "--height", "120", "--fps", "12")
    done = comfyops("generate", "text_to_video", *options, "--json", "--server", server.url, "-o", "out", folder=folder)
    with av.open(str(folder / done.data["outputs"][0])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 10 == done.data["frames"]


def test_the_local_engine_needs_no_server_and_says_what_it_is(folder: Path) -> None:
    done = comfyops("generate", "video_generation", "--prompt", "x", "--frames", "6", "-o", "out", folder=folder)
    assert done.code == 0 and "local engine" in done.err and len(list((folder / "out").glob("*.mp4"))) == 1


def test_what_is_missing_is_said_in_words(server: Server, folder: Path) -> None:
    done = comfyops("generate", "inpainting", "--prompt", "x", "--server", server.url, folder=folder)
    done.failed_with("unsupported", "needs picture")
    comfyops("generate", "text_to_poem", folder=folder).failed_with("usage", "text_to_image", exit_code=2)
