"""Video: loaded, put together, taken apart, cut, saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.places import input_path, metadata, place_for
from comfyops.simulator.nodes.save import passed_on
from comfyops.simulator.values import Audio, Video, frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
_CODECS = {"h264": "libx264", "vp9": "libvpx-vp9", "av1": "libsvtav1"}


def load_video(call: NodeCall, file: str) -> Video:
    """LoadVideo."""
    return media.decode_video(input_path(call.host, file))


def create_video(images: Array, fps: float, audio: Audio | None = None) -> Video:
    """CreateVideo."""
    return Video(frozen_array(images[..., :3]), fps, audio)


def components(call: NodeCall, video: Video) -> tuple[Any, ...]:
    """GetVideoComponents: pictures, sound, frames per second, and on newer servers bit depth and colour space."""
    every = (video.frames, video.audio or _silence(video), video.fps, 8, "sRGB")
    return every[: len(call.node_type.outputs)]


def _silence(video: Video) -> Audio:
    return Audio(frozen_array(np.zeros((2, max(int(video.seconds * 44100), 1)), dtype=np.float32)))


def cut(video: Video, start_time: float, duration: float, strict_duration: bool = False) -> Video:
    """Video Slice: in seconds; a negative start counts from the end, duration 0 takes all the rest."""
    start = start_time if start_time >= 0 else max(video.seconds + start_time, 0.0)
    end = start + duration if duration else video.seconds
    if strict_duration and end > video.seconds + 1e-6:
        raise ValueError(f"The video ends after {video.seconds:.3f} seconds, before the end of the wanted part")
    frames = video.frames[round(start * video.fps) : max(round(end * video.fps), round(start * video.fps) + 1)]
    if not len(frames):
        raise ValueError("The wanted part starts behind the end of the video")
    return replace(video, frames=frames, audio=_cut_sound(video.audio, start, end))


def temporal_crop(video: Video, start_frame: int, length: int) -> Video:
    """VideoTemporalCrop: in frames."""
    return cut(video, start_frame / video.fps, length / video.fps)


def random_temporal_crop(video: Video, length: int, seed: int) -> Video:
    """VideoRandomTemporalCrop."""
    return temporal_crop(video, Random(seed).randint(0, max(len(video.frames) - length, 0)), length)


def sample_frames(video: Video, num_frames: int, strategy: str = "uniform", seed: int = 0) -> Video:
    """VideoFrameSample: some of the frames, in order."""
    total = len(video.frames)
    wanted = min(num_frames, total)
    if strategy == "head":
        chosen = list(range(wanted))
    elif strategy == "tail":
        chosen = list(range(total - wanted, total))
    elif strategy == "random":
        chosen = sorted(Random(seed).sample(range(total), wanted))
    else:
        chosen = [round(at * (total - 1) / max(wanted - 1, 1)) for at in range(wanted)]
    return replace(video, frames=frozen_array(video.frames[chosen]))


def _cut_sound(audio: Audio | None, start: float, end: float) -> Audio | None:
    if audio is None:
        return None
    return replace(audio, samples=frozen_array(audio.samples[:, round(start * audio.rate) : round(end * audio.rate)]))


def save_video(
    call: NodeCall, video: Video, filename_prefix: str, format: Mapping[str, Any], codec: Mapping[str, Any] | str = ""
) -> NodeResult:
    """SaveVideo: format and codec "auto" are mp4 and H.264; webm takes AV1 where nothing else is said."""
    extension = str(_option(format, "format")).replace("auto", "mp4") or "mp4"
    wanted = _option(codec, "codec") or _option(_inner(format, "codec"), "codec") or "auto"
    encoder = _CODECS.get(wanted, "libsvtav1" if extension == "webm" else "libx264")
    place = place_for(call, filename_prefix, video.frames.shape[2], video.frames.shape[1])
    data = media.encode_video(video, encoder, _CONTAINERS.get(extension, "mp4"), metadata(call))
    return passed_on(call, video, {"images": [place.write(data, extension)], "animated": (True,)})


def _option(value: Any, name: str) -> str:
    return str(value.get(name) or "") if isinstance(value, Mapping) else str(value or "")


def _inner(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, Mapping) else ""


def save_webm(call: NodeCall, images: Array, filename_prefix: str, codec: str, fps: float, crf: float) -> NodeResult:
    """SaveWEBM."""
    place = place_for(call, filename_prefix, images.shape[2], images.shape[1])
    clip = Video(images[..., :3], fps)
    data = media.encode_video(clip, _CODECS.get(codec, "libvpx-vp9"), "webm", metadata(call), crf)
    return passed_on(call, images, {"images": [place.write(data, "webm")], "animated": (True,)})


NODES: dict[str, NodeFunction] = {
    "LoadVideo": computed(load_video),
    "CreateVideo": computed(create_video),
    "GetVideoComponents": computed(components),
    "Video Slice": computed(cut),
    "VideoTemporalCrop": computed(temporal_crop),
    "VideoRandomTemporalCrop": computed(random_temporal_crop),
    "VideoFrameSample": computed(sample_frames),
    "SaveVideo": computed(save_video),
    "SaveWEBM": computed(save_webm),
}
