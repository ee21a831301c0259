"""Sound: loaded, made, cut and joined, saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import computed
from comfyops.simulator.nodes.places import input_path, metadata, place_for, temp_prefix
from comfyops.simulator.nodes.save import passed_on
from comfyops.simulator.values import Audio, Draws, check_size, frozen_array

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_RATE = 44100
_SCALE = (220.0, 246.94, 277.18, 329.63, 369.99, 440.0, 493.88, 554.37)  # a pentatonic one, Hz
_BIT_RATES = {"64k": 64, "96k": 96, "128k": 128, "192k": 192, "320k": 320, "V0": 245}
_LONGEST = 600.0  # seconds of a made tune


def tune(digest: str, seconds: float) -> Audio:
    """A quiet tune of soft notes drawn from a digest, in stereo; stands for sound that a model would make."""
    rng = Draws(digest)
    count = max(int(min(seconds, _LONGEST) * _RATE), 1)
    position = np.arange(count, dtype=np.float32) / np.float32(_RATE)
    samples = np.zeros((2, count), dtype=np.float32)
    beat = 0.28 + 0.2 * rng.random()
    for start in np.arange(0, count / _RATE, beat):
        left, right = int(start * _RATE), min(int((start + 3 * beat) * _RATE), count)
        t = position[: right - left]
        wave = _triangle(t * np.float32(rng.pick(_SCALE)))
        fall = np.clip(1 - t / np.float32(3 * beat), 0, 1)
        rise = np.clip(t * 200, 0, 1)
        pan = np.float32(0.3 + 0.4 * rng.random())
        note = wave * fall * fall * rise * np.float32(0.22)
        samples[0, left:right] += note * pan
        samples[1, left:right] += note * (1 - pan)
    return Audio(frozen_array(samples), _RATE)


def _triangle(phase: Array) -> Array:
    part = phase - np.floor(phase)
    return np.abs(part * 4 - 2) - 1


def load_audio(call: NodeCall, audio: str) -> Audio:
    """LoadAudio."""
    return media.decode_audio(input_path(call.host, audio))


def empty_audio(duration: float, sample_rate: int = _RATE, channels: int = 2) -> Audio:
    """EmptyAudio: silence."""
    check_size(channels, round(duration * sample_rate))
    return Audio(frozen_array(np.zeros((channels, round(duration * sample_rate)), dtype=np.float32)), sample_rate)


def trim(audio: Audio, start_index: float, duration: float) -> Audio:
    """TrimAudioDuration: a negative start counts from the end."""
    length = audio.samples.shape[-1]
    start = round(start_index * audio.rate) + (length if start_index < 0 else 0)
    start = min(max(start, 0), length - 1)
    end = min(start + round(duration * audio.rate), length)
    if start >= end:
        raise ValueError("The start lies behind the end of the sound")
    return replace(audio, samples=frozen_array(audio.samples[:, start:end]))


def split_channels(audio: Audio) -> tuple[Audio, Audio]:
    """SplitAudioChannels."""
    if audio.samples.shape[0] != 2:
        raise ValueError(f"The sound has {audio.samples.shape[0]} channels, not 2")
    left, right = (replace(audio, samples=frozen_array(audio.samples[at : at + 1])) for at in (0, 1))
    return left, right


def join_channels(audio_left: Audio, audio_right: Audio) -> Audio:
    """JoinAudioChannels: as long as the shorter one."""
    first, second = _same_rate(audio_left, audio_right)
    length = min(first.shape[-1], second.shape[-1])
    return Audio(
        frozen_array(np.stack([first[0, :length], second[0, :length]])), max(audio_left.rate, audio_right.rate)
    )


def concatenate(audio1: Audio, audio2: Audio, direction: str = "after") -> Audio:
    """AudioConcat: the second before or after the first."""
    first, second = _stereo(*_same_rate(audio1, audio2))
    pair = [first, second] if direction == "after" else [second, first]
    return Audio(frozen_array(np.concatenate(pair, axis=1)), max(audio1.rate, audio2.rate))


def merge(audio1: Audio, audio2: Audio, merge_method: str) -> Audio:
    """AudioMerge: laid over the first, as long as it; made quieter where it would clip."""
    first, second = _stereo(*_same_rate(audio1, audio2))
    second = np.pad(second, ((0, 0), (0, max(first.shape[1] - second.shape[1], 0))))[:, : first.shape[1]]
    mixed = {
        "add": first + second,
        "subtract": first - second,
        "multiply": first * second,
        "mean": (first + second) / 2,
    }[merge_method]
    peak = float(np.abs(mixed).max()) if mixed.size else 0.0
    return Audio(frozen_array(mixed / peak if peak > 1 else mixed), max(audio1.rate, audio2.rate))


def volume(audio: Audio, volume: int) -> Audio:
    """AudioAdjustVolume: in decibels."""
    return (
        audio if volume == 0 else replace(audio, samples=frozen_array(audio.samples * np.float32(10 ** (volume / 20))))
    )


def _same_rate(one: Audio, other: Audio) -> tuple[Array, Array]:
    rate = max(one.rate, other.rate)
    return _at_rate(one, rate), _at_rate(other, rate)


def _at_rate(audio: Audio, rate: int) -> Array:
    if audio.rate == rate:
        return audio.samples
    count = round(audio.samples.shape[-1] * rate / audio.rate)
    place = np.linspace(0, audio.samples.shape[-1] - 1, count)
    old = np.arange(audio.samples.shape[-1])
    return np.stack([np.interp(place, old, channel) for channel in audio.samples]).astype(np.float32)


def _stereo(one: Array, other: Array) -> tuple[Array, Array]:
    if one.shape[0] == other.shape[0]:
        return one, other
    return tuple(np.repeat(each, 2, axis=0) if each.shape[0] == 1 else each for each in (one, other))  # type: ignore[return-value]


def saved(call: NodeCall, audio: Audio, prefix: str, extension: str, quality: str, temporary: bool) -> NodeResult:
    """Write a sound file and pass the sound on."""
    place = place_for(call, prefix, temporary=temporary)
    tail = "_" if call.host.settings.version == "0.8.0" else ""
    data = media.encode_audio(audio, extension, metadata(call), _BIT_RATES.get(quality, 0) * 1000)
    return passed_on(call, audio, {"audio": [place.write(data, extension, tail=tail)]})


def save_flac(call: NodeCall, audio: Audio, filename_prefix: str = "ComfyUI") -> NodeResult:
    """SaveAudio."""
    return saved(call, audio, filename_prefix, "flac", "", False)


def save_mp3(call: NodeCall, audio: Audio, filename_prefix: str = "ComfyUI", quality: str = "V0") -> NodeResult:
    """SaveAudioMP3."""
    return saved(call, audio, filename_prefix, "mp3", quality, False)


def save_opus(call: NodeCall, audio: Audio, filename_prefix: str = "ComfyUI", quality: str = "128k") -> NodeResult:
    """SaveAudioOpus."""
    return saved(call, audio, filename_prefix, "opus", quality, False)


def save_advanced(call: NodeCall, audio: Audio, filename_prefix: str, format: Mapping[str, Any]) -> NodeResult:
    """SaveAudioAdvanced."""
    extension = str(format.get("format", "flac"))
    return saved(call, audio, filename_prefix, extension, str(format.get("quality", "")), False)


def preview(call: NodeCall, audio: Audio) -> NodeResult:
    """PreviewAudio."""
    return saved(call, audio, temp_prefix(), "flac", "", True)


NODES: dict[str, NodeFunction] = {
    "LoadAudio": computed(load_audio),
    "EmptyAudio": computed(empty_audio),
    "TrimAudioDuration": computed(trim),
    "SplitAudioChannels": computed(split_channels),
    "JoinAudioChannels": computed(join_channels),
    "AudioConcat": computed(concatenate),
    "AudioMerge": computed(merge),
    "AudioAdjustVolume": computed(volume),
    "SaveAudio": computed(save_flac),
    "SaveAudioMP3": computed(save_mp3),
    "SaveAudioOpus": computed(save_opus),
    "SaveAudioAdvanced": computed(save_advanced),
    "PreviewAudio": computed(preview),
}
