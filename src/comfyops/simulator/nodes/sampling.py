"""Samplers, guiders, noise and noise levels."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import numpy as np

from comfyops.simulator import media
from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.draw import sketch
from comfyops.simulator.nodes.define import instant
from comfyops.simulator.nodes.given import Given, given
from comfyops.simulator.values import Conditioning, Guider, Latent, Layer, Noise, Sigmas, Thing, fingerprint

_SIGMA_MAX, _SIGMA_MIN = 14.614642, 0.0291675


def is_sampler(facts: Given) -> bool:
    """Whether these inputs make a sampler: a model (alone or in a guider), a latent, and steps to take."""
    steps = facts.first(Sigmas) is not None or facts.number("steps", default=-1) >= 0
    return bool(facts.first(Latent) and steps and (facts.things("MODEL") or facts.first(Guider)))


async def sample(call: NodeCall) -> NodeResult:
    """Any sampler: takes its steps with progress and previews, then gives the latent with one more layer."""
    facts = given(call)
    latent = facts.first(Latent)
    assert latent is not None  # is_sampler
    first, last = _range(facts)
    finished = with_layer(latent, _layer(facts, latent, first, last))
    preview = await _preview_source(call, finished)
    for step in range(first, last):
        await call.host.pause(call.host.settings.seconds_per_step)
        done = (step + 1 - first) / max(last - first, 1)
        await call.host.progress(step + 1 - first, last - first, _preview(preview, done))
    return NodeResult((finished,) * len(call.node_type.outputs))


def with_layer(latent: Latent, layer: Layer) -> Latent:
    """The latent after one more pass over it and over its parts."""
    parts = tuple(with_layer(part, layer) for part in latent.parts)
    return replace(latent, layers=(*latent.layers, layer), parts=parts)


def _range(facts: Given) -> tuple[int, int]:
    sigmas = facts.first(Sigmas)
    if sigmas is not None:
        return 0, sigmas.steps
    steps = facts.whole("steps")
    start = min(max(facts.whole("start_at_step"), 0), steps)
    return start, max(min(facts.whole("end_at_step", default=steps), steps), start)


def _layer(facts: Given, latent: Latent, first: int, last: int) -> Layer:
    guider = facts.first(Guider)
    positive, negative = _prompts(facts, guider)
    model = guider.model if guider else next(iter(facts.things("MODEL")))
    noise = facts.first(Noise)
    seed = noise.seed or 0 if noise else facts.whole("seed", "noise_seed")
    return Layer(
        prompt=positive.text if positive else "",
        model=model.files[0] if model.files else "",
        seed=seed,
        steps=last - first,
        cfg=guider.cfg if guider else facts.number("cfg", default=7.0),
        digest=fingerprint(facts.digest, negative),
        weight=_weight(facts, latent, first, last),
        guides=positive.guides if positive else (),
    )


def _prompts(facts: Given, guider: Guider | None) -> tuple[Conditioning | None, Conditioning | None]:
    if guider:
        return guider.positive, guider.negative
    named = {key: value for key, value in facts.values.items() if isinstance(value, Conditioning)}
    positive = named.get("positive") or next(iter(named.values()), None)
    return positive, named.get("negative")


def _weight(facts: Given, latent: Latent, first: int, last: int) -> float:
    """How much of the picture this pass makes anew."""
    if not latent.layers and latent.pixels is None:
        return 1.0
    sigmas = facts.first(Sigmas)
    if sigmas is not None:
        return sigmas.denoise
    steps = max(facts.whole("steps"), 1)
    return facts.number("denoise", default=1.0) * (last - first) / steps


async def _preview_source(call: NodeCall, latent: Latent) -> Any:
    if not call.host.settings.previews or latent.kind != "image":
        return None
    return await asyncio.to_thread(sketch, latent)


def _preview(picture: Any, done: float) -> bytes | None:
    """The picture under noise that grows less."""
    if picture is None:
        return None
    noise = np.random.default_rng(int(done * 1000)).random(picture.shape, dtype=np.float32)
    return media.jpeg(picture * np.float32(done) + noise * np.float32(1 - done))


def guider(call: NodeCall) -> Guider:
    """Any node that gives a guider."""
    facts = given(call)
    positive, negative = _prompts(facts, None)
    model = next(iter(facts.things("MODEL")), Thing("MODEL", facts.class_type))
    cfg = facts.number("cfg", "cfg_conds", "video_cfg", default=1.0)
    return Guider(model, positive or Conditioning(""), negative, cfg, facts.digest)


def karras(steps: int, sigma_max: float, sigma_min: float, rho: float) -> Sigmas:
    """KarrasScheduler: even steps of the rho-th root (Karras et al. 2022, equation 5)."""
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _down([(high + (low - high) * t) ** rho for t in _ramp(steps)])


def exponential(steps: int, sigma_max: float, sigma_min: float) -> Sigmas:
    """ExponentialScheduler: even steps of the logarithm."""
    return polyexponential(steps, sigma_max, sigma_min, 1.0)


def polyexponential(steps: int, sigma_max: float, sigma_min: float, rho: float) -> Sigmas:
    """PolyexponentialScheduler."""
    return _down([sigma_min * (sigma_max / sigma_min) ** ((1 - t) ** rho) for t in _ramp(steps)])


def any_scheduler(call: NodeCall) -> Sigmas:
    """Any other scheduler: a straight line down, cut to the last part where it denoises only in part."""
    facts = given(call)
    steps = max(facts.whole("steps", default=20), 1)
    denoise = facts.number("denoise", default=1.0)
    if denoise <= 0:
        return Sigmas((), 0.0)
    total = max(round(steps / denoise), steps)
    line = [_SIGMA_MAX * (1 - at / total) for at in range(total + 1)]
    return Sigmas(tuple(line[-(steps + 1) :]), min(denoise, 1.0))


def manual_sigmas(sigmas: str) -> Sigmas:
    """ManualSigmas: every number in the text."""
    return Sigmas(tuple(float(number) for number in re.findall(r"[-+]?(?:\d*\.*\d+)", sigmas)))


def split_sigmas(sigmas: Sigmas, step: int) -> tuple[Sigmas, Sigmas]:
    """SplitSigmas."""
    return _part(sigmas, 0, step), _part(sigmas, step, sigmas.steps)


def split_by_denoise(sigmas: Sigmas, denoise: float) -> tuple[Sigmas, Sigmas]:
    """SplitSigmasDenoise."""
    last = round(sigmas.steps * denoise)
    return _part(sigmas, 0, sigmas.steps - last), _part(sigmas, sigmas.steps - last, sigmas.steps)


def flip_sigmas(sigmas: Sigmas) -> Sigmas:
    """FlipSigmas; a first level of 0 becomes 0.0001."""
    values = tuple(reversed(sigmas.values))
    return replace(sigmas, values=(0.0001, *values[1:]) if values and values[0] == 0 else values)


def set_first_sigma(sigmas: Sigmas, sigma: float) -> Sigmas:
    """SetFirstSigma."""
    return replace(sigmas, values=(sigma, *sigmas.values[1:]))


def _part(sigmas: Sigmas, first: int, last: int) -> Sigmas:
    share = max(last - first, 0) / max(sigmas.steps, 1)
    return Sigmas(sigmas.values[first : last + 1], sigmas.denoise * share)


def _ramp(steps: int) -> list[float]:
    return [at / max(steps - 1, 1) for at in range(steps)]


def _down(values: list[float]) -> Sigmas:
    return Sigmas((*values, 0.0))


def random_noise(noise_seed: int) -> Noise:
    """RandomNoise."""
    return Noise(noise_seed)


def no_noise() -> Noise:
    """DisableNoise."""
    return Noise(None)


NODES: dict[str, NodeFunction] = {
    "KSampler": sample,
    "KSamplerAdvanced": sample,
    "SamplerCustom": sample,
    "SamplerCustomAdvanced": sample,
    "RandomNoise": instant(random_noise),
    "DisableNoise": instant(no_noise),
    "KarrasScheduler": instant(karras),
    "ExponentialScheduler": instant(exponential),
    "PolyexponentialScheduler": instant(polyexponential),
    "ManualSigmas": instant(manual_sigmas),
    "SplitSigmas": instant(split_sigmas),
    "SplitSigmasDenoise": instant(split_by_denoise),
    "FlipSigmas": instant(flip_sigmas),
    "SetFirstSigma": instant(set_first_sigma),
}
