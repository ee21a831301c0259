"""Video files written whole: frames encoded, sound and metadata of another file taken along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from comfyops.errors import InputError, InternalError
from comfyops.execution import extras
from comfyops.support.files import write_bytes

_ENCODERS = (("libx264", {"preset": "medium", "x264-params": "mbtree=0"}), ("mpeg4", {"qscale": "3"}))
"""Encoders for MP4, best first, with their options: with x264's macroblock tree, the same frames do not always give the
same bytes."""

LOSSLESS = 0
"""`crf` of pictures that must come back as they were, but for rounding of colours."""


def encoded(
    frames: Iterable[Image.Image],
    fps: float,
    *,
    crf: int = 17,
    metadata: Mapping[str, str] | None = None,
    sound: Path | None = None,
) -> bytes:
    """The bytes of an MP4 with these frames, all of the first one's size.

    Sides that are not even, and lossless frames, are kept whole by not halving the colours. `sound` is a file whose
    sound is taken along, as far as the frames go. Raises MissingExtraError, InputError where there are no frames.
    """
    av = extras.video_library()
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise InputError("A video needs at least one frame.", hint="Give frames.")
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as output:
        output.metadata.update(metadata or {})
        stream = _video_stream(av, output, first, fps, crf)
        source = av.open(str(sound)) if sound else None
        try:
            track = _sound_stream(output, source)
            count = _encode(av, output, stream, first, pictures)
            if track is not None:
                _copy_sound(output, source, track, count / fps)
        finally:
            if source is not None:
                source.close()
    return buffer.getvalue()


def write(path: Path, frames: Iterable[Image.Image], fps: float, **options: Any) -> None:
    """`encoded` into a file, whole or not at all. Raises StorageError too."""
    write_bytes(path, encoded(frames, fps, **options))


def metadata_of(path: Path) -> dict[str, str]:
    """What the file says of itself: ComfyUI puts its workflow there."""
    with extras.video_library().open(str(path)) as source:
        return dict(source.metadata)


def _video_stream(av: Any, output: Any, first: Image.Image, fps: float, crf: int) -> Any:
    name, options = next(((name, options) for name, options in _ENCODERS if name in av.codecs_available), ("", {}))
    if not name:
        raise InternalError("This PyAV has no encoder for MP4 videos.", hint="Install PyAV from PyPI.")
    stream = output.add_stream(name, rate=Fraction(round(fps * 1000), 1000))
    stream.width, stream.height = first.size
    odd = bool(first.width % 2 or first.height % 2)
    stream.pix_fmt = "yuv444p" if name == "libx264" and (odd or crf == LOSSLESS) else "yuv420p"
    stream.options = {**options, **({"crf": str(crf)} if name == "libx264" else {})}
    return stream


def _encode(av: Any, output: Any, stream: Any, first: Image.Image, others: Iterable[Image.Image]) -> int:
    count = 0
    for picture in chain((first,), others):
        output.mux(stream.encode(av.VideoFrame.from_image(picture.convert("RGB"))))
        count += 1
    output.mux(stream.encode())
    return count


def _sound_stream(output: Any, source: Any) -> Any:
    if source is None or not source.streams.audio:
        return None
    return output.add_stream_from_template(source.streams.audio[0])


def _copy_sound(output: Any, source: Any, track: Any, seconds: float) -> None:
    for packet in source.demux(source.streams.audio[0]):
        if packet.dts is None or float(packet.pts * packet.time_base) >= seconds:
            continue
        packet.stream = track
        output.mux(packet)
