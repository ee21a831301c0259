"""Texts inside media files, by key: what ComfyUI writes into the pictures, sounds, films and models that it saves.

Each kind of file has a module with `is_one(data)` and `texts(data)`; the latter reads only what lies before the end of
the bytes, never more than the file holds, and raises ValueError with the reason where it is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyops.support import png_text
from comfyops.workflows.containers import exif, id3, matroska, models, mp4, xiph

Reader = Callable[[bytes], Mapping[str, str]]

_KINDS: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("PNG", png_text.is_png, png_text.texts),
    ("WebP or JPEG", exif.is_one, exif.texts),
    ("FLAC", xiph.is_flac, xiph.flac_texts),
    ("Ogg", xiph.is_ogg, xiph.ogg_texts),
    ("MP4", mp4.is_one, mp4.texts),
    ("Matroska", matroska.is_one, matroska.texts),
    ("MP3", id3.is_one, id3.texts),
    ("GLB", models.is_glb, models.glb_texts),
    ("safetensors", models.is_safetensors, models.safetensors_texts),
    ("SVG", models.is_svg, models.svg_texts),
)


def kind_of(data: bytes) -> str | None:
    """The kind of media file that the bytes begin as, None for anything else (such as JSON)."""
    return next((name for name, is_one, _ in _KINDS if is_one(data)), None)


def texts(data: bytes) -> dict[str, str]:
    """The texts of a media file by key in lower case, such as "prompt" and "workflow"; empty where it has none.

    Raises ValueError where the file is damaged.
    """
    for _, is_one, read in _KINDS:
        if is_one(data):
            return {key.lower(): value for key, value in read(data).items()}
    return {}
