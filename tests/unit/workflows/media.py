"""Small media files that carry texts, made by the libraries that ComfyUI saves with."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction

import av
import numpy as np
from PIL import Image, PngImagePlugin

Texts = Mapping[str, str]


def png(texts: Texts) -> bytes:
    """A picture as SaveImage writes it."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "png", pnginfo=info)
    return file.getvalue()


def webp(texts: Texts) -> bytes:
    """A picture as SaveAnimatedWEBP writes it: EXIF fields from 0x0110 downwards."""
    exif = Image.new("RGB", (2, 2)).getexif()
    for at, (key, text) in enumerate(texts.items()):
        exif[0x0110 - at] = f"{key}:{text}"
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "webp", exif=exif)
    return file.getvalue()


def film(kind: str, codec: str) -> Callable[[Texts], bytes]:
    """A film as SaveVideo and SaveWEBM write it."""

    def make(texts: Texts) -> bytes:
        file = io.BytesIO()
        options = {"movflags": "use_metadata_tags"} if kind in ("mp4", "mov") else {}
        with av.open(file, "w", format=kind, options=options) as out:
            for key, text in texts.items():
                out.metadata[key] = text
            stream = out.add_stream(codec, rate=Fraction(8))
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            for _ in range(2):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            out.mux(stream.encode(None))
        return file.getvalue()

    return make


def sound(kind: str, codec: str, rate: int = 48000) -> Callable[[Texts], bytes]:
    """A sound as the SaveAudio nodes write it."""

    def make(texts: Texts) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=kind) as out:
            for key, text in texts.items():
                out.metadata[key] = text
            stream = out.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
            frame.sample_rate = rate
            out.mux(stream.encode(av.AudioResampler(stream.format, stream.layout, rate).resample(frame)[0]))
            out.mux(stream.encode(None))
        return file.getvalue()

    return make


def glb(texts: Texts) -> bytes:
    """A scene as SaveGLB writes it."""
    text = json.dumps({"asset": {"version": "2.0", "extras": dict(texts)}}).encode()
    text += b" " * (-len(text) % 4)
    return b"glTF" + struct.pack("<II", 2, 20 + len(text)) + struct.pack("<I", len(text)) + b"JSON" + text


def latent(texts: Texts) -> bytes:
    """A latent as SaveLatent writes it."""
    header = json.dumps({"__metadata__": dict(texts)}).encode()
    return struct.pack("<Q", len(header)) + header


def svg(texts: Texts) -> bytes:
    """A drawing as SaveSVGNode writes it."""
    values = json.dumps({key: json.loads(text) for key, text in texts.items()})
    return f'<svg xmlns="x"><metadata><![CDATA[{values}]]></metadata><path/></svg>'.encode()


KINDS: Mapping[str, Callable[[Texts], bytes]] = {
    "png": png,
    "webp": webp,
    "mp4": film("mp4", "mpeg4"),
    "mov": film("mov", "mpeg4"),
    "webm": film("webm", "libvpx-vp9"),
    "mkv": film("matroska", "mpeg4"),
    "flac": sound("flac", "flac"),
    "mp3": sound("mp3", "libmp3lame"),
    "opus": sound("opus", "libopus"),
    "glb": glb,
    "latent": latent,
    "svg": svg,
}
