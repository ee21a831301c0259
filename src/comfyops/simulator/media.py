"""Pictures, sound and video to bytes and back (Pillow and PyAV)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from comfyops.simulator.draw import to_bytes
from comfyops.simulator.values import Audio, Video, frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_EXIF_MODEL, _EXIF_MAKE, _EXIF_DESCRIPTION = 0x0110, 0x010F, 0x010E


def to_pillow(picture: Array) -> Image.Image:
    """One picture [height, width, 1, 3 or 4] as a Pillow image."""
    data = to_bytes(picture)
    return Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data)


def png(picture: Array, texts: Mapping[str, str] | None = None, level: int = 4) -> bytes:
    """A PNG with text chunks."""
    return _saved(to_pillow(picture), "PNG", pnginfo=_chunks(texts or {}), compress_level=level)


def jpeg(picture: Array, quality: int = 85) -> bytes:
    """A JPEG, for previews."""
    return _saved(to_pillow(picture[..., :3]), "JPEG", quality=quality)


def animated_png(pictures: Array, fps: float, texts: Mapping[str, str], level: int = 4) -> bytes:
    """An APNG; its texts follow the header, as in any PNG."""
    first, *others = [to_pillow(picture) for picture in pictures]
    chunks = _chunks(texts)
    duration = int(1000.0 / fps)
    return _saved(
        first, "PNG", pnginfo=chunks, compress_level=level, save_all=True, append_images=others, duration=duration
    )


def animated_webp(
    pictures: Array, fps: float, texts: Mapping[str, str], *, lossless: bool = True, quality: int = 80, method: int = 4
) -> bytes:
    """An animated WebP; its texts go into EXIF tags as "name:json"."""
    first, *others = [to_pillow(picture) for picture in pictures]
    exif = first.getexif()
    tag = _EXIF_MAKE
    for name, text in texts.items():
        if name == "prompt":
            exif[_EXIF_MODEL] = f"prompt:{text}"
        elif name == "comfyops_simulated":
            exif[_EXIF_DESCRIPTION] = f"{name}:{text}"
        else:
            exif[tag] = f"{name}:{text}"
            tag -= 2
    options: dict[str, Any] = {"lossless": lossless, "quality": quality, "method": method, "exif": exif}
    return _saved(first, "WEBP", save_all=True, append_images=others, duration=int(1000.0 / fps), **options)


def load_pictures(source: Path | BinaryIO) -> tuple[Array, Array]:
    """The pictures of a file [n, height, width, 3] and their masks (1 where transparent), turned as EXIF says.

    A file without transparency has masks of 64 x 64 zeros. Frames of another size than the first are left out. Raises
    Pillow's errors for what is no picture.
    """
    pictures: list[Array] = []
    masks: list[Array] = []
    with Image.open(source) as image:
        for frame in ImageSequence.Iterator(image):
            turned = ImageOps.exif_transpose(frame)
            if turned.mode == "I":
                turned = turned.point(lambda value: value * (1 / 255))
            picture = np.asarray(turned.convert("RGB"), dtype=np.float32) / np.float32(255)
            if pictures and picture.shape != pictures[0].shape:
                continue
            pictures.append(picture)
            masks.append(_transparency(turned))
            if image.format == "MPO":
                break
    return frozen_array(np.stack(pictures)), frozen_array(np.stack(masks))


def load_channel(path: Path, channel: str) -> Array:
    """One channel of a file's picture [1, height, width]; alpha is turned round as a mask."""
    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.getbands() != ("R", "G", "B", "A"):
            turned = turned.convert("RGBA")
        letter = channel[0].upper()
        values = np.asarray(turned.getchannel(letter), dtype=np.float32) / np.float32(255)
    return frozen_array((1 - values if letter == "A" else values)[None])


def has_alpha(path: Path) -> bool:
    """Whether a picture file has transparency."""
    with Image.open(path) as image:
        return "A" in image.getbands() or "transparency" in image.info


def encode_video(video: Video, codec: str, container: str, texts: Mapping[str, str], crf: float | None = None) -> bytes:
    """A video file: `codec` libx264, libvpx-vp9 or libsvtav1, `container` mp4, matroska or webm."""
    buffer = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if container == "mp4" else {}
    with av.open(buffer, "w", format=container, options=options) as output:
        output.metadata.update(texts)
        rate = Fraction(round(video.fps * 1000), 1000)
        stream: Any = output.add_stream(codec, rate=rate)
        height, width = video.frames.shape[1:3]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = _speed(codec) | ({"crf": str(int(crf))} if crf is not None else {})
        sound: Any = _sound_stream(output, video.audio, container)
        for picture in video.frames:
            frame = av.VideoFrame.from_ndarray(_even(to_bytes(picture[..., :3])), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if video.audio is not None and sound is not None:
            _encode_sound(output, sound, video.audio)
    return buffer.getvalue()


def decode_video(path: Path, limit: int = 4096) -> Video:
    """The frames and the sound of a video file. Raises PyAV's errors for what is no video."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        rate = float(stream.average_rate or 24)
        frames = [
            frame.to_ndarray(format="rgb24") for frame, _ in zip(source.decode(stream), range(limit), strict=False)
        ]
        has_sound = bool(source.streams.audio)
    if not frames:
        raise ValueError(f"There are no frames in {path.name}")
    audio = decode_audio(path) if has_sound else None
    return Video(frozen_array(np.stack(frames).astype(np.float32) / np.float32(255)), rate, audio)


def encode_audio(audio: Audio, extension: str, texts: Mapping[str, str], bit_rate: int = 0) -> bytes:
    """A sound file: flac, mp3, opus or wav."""
    buffer = io.BytesIO()
    container, codec = {
        "flac": ("flac", "flac"),
        "mp3": ("mp3", "libmp3lame"),
        "opus": ("opus", "libopus"),
        "wav": ("wav", "pcm_s16le"),
    }[extension]
    with av.open(buffer, "w", format=container) as output:
        output.metadata.update(texts)
        stream: Any = output.add_stream(codec, rate=_rate_for(codec, audio.rate), layout=_layout(audio))
        if bit_rate:
            stream.bit_rate = bit_rate
        _encode_sound(output, stream, audio)
    return buffer.getvalue()


def decode_audio(path: Path) -> Audio:
    """The sound of a file. Raises PyAV's errors for what has none."""
    with av.open(str(path)) as source:
        if not source.streams.audio:
            raise ValueError(f"There is no sound in {path.name}")
        stream = source.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        chunks = [
            part.to_ndarray() for frame in source.decode(stream) for part in resampler.resample(frame) if part.samples
        ]
        rate = stream.rate
    samples = np.concatenate(chunks, axis=1) if chunks else np.zeros((1, 0), dtype=np.float32)
    return Audio(frozen_array(samples), rate)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunks(texts: Mapping[str, str]) -> PngInfo:
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    return chunks


def _transparency(image: Image.Image) -> Array:
    if "A" in image.getbands():
        alpha = image.getchannel("A")
    elif image.mode == "P" and "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return np.zeros((64, 64), dtype=np.float32)
    return 1 - np.asarray(alpha, dtype=np.float32) / np.float32(255)


def _speed(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "veryfast", "x264-params": "mbtree=0"},  # the same bytes each time
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
        "libsvtav1": {"preset": "12"},
    }.get(codec, {})


def _even(data: Any) -> Any:
    rows, columns = data.shape[:2]
    return np.ascontiguousarray(np.pad(data, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge"))


def _layout(audio: Audio) -> str:
    return "mono" if audio.samples.shape[0] == 1 else "stereo"


def _rate_for(codec: str, rate: int) -> int:
    """The nearest sample rate that the codec takes."""
    allowed: Sequence[int] = {
        "libopus": (8000, 12000, 16000, 24000, 48000),
        "libmp3lame": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    }.get(codec, (rate,))
    return rate if rate in allowed else min((one for one in allowed if one > rate), default=allowed[-1])


def _sound_stream(output: Any, audio: Audio | None, container: str) -> Any:
    if audio is None or audio.samples.shape[-1] == 0:
        return None
    codec = "aac" if container == "mp4" else "libopus"
    return output.add_stream(codec, rate=_rate_for(codec, audio.rate), layout=_layout(audio))


def _encode_sound(output: Any, stream: Any, audio: Audio) -> None:
    for frame in _sound_frames(audio):
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def _sound_frames(audio: Audio, size: int = 65536) -> Iterator[Any]:
    samples = np.ascontiguousarray(audio.samples[:2])
    for start in range(0, samples.shape[1], size):
        part = np.ascontiguousarray(samples[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=_layout(audio))
        frame.sample_rate = audio.rate
        frame.time_base = Fraction(1, audio.rate)
        frame.pts = start
        yield frame
