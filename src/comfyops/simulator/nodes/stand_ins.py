"""Any node at all, simulated from its declared types: well-typed outputs that depend on everything that went in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from comfyops.simulator.call import NodeCall, NodeResult
from comfyops.simulator.draw import caption, draw, label
from comfyops.simulator.nodes import sampling, three_d
from comfyops.simulator.nodes.conditioning import conditioning
from comfyops.simulator.nodes.define import result
from comfyops.simulator.nodes.given import Given, given
from comfyops.simulator.nodes.latents import latent
from comfyops.simulator.nodes.loaders import load_files, model
from comfyops.simulator.nodes.sounds import tune
from comfyops.simulator.values import Audio, FileBlob, Guide, Latent, Layer, Noise, Sigmas, Video, frozen_array
from comfyops.workflows.node_types import MATCH_TYPE

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

_SIDE = 512
_VIDEO_FPS = 24.0
_VIDEO_FRAMES = 240  # the longest stand-in


async def stand_in(call: NodeCall) -> NodeResult:
    """Simulate a node: load the model files it names, sample where it is a sampler, else give stand-ins."""
    await load_files(call)
    facts = given(call)
    kinds = [output.kind for output in call.node_type.outputs]
    if kinds and set(kinds) == {"LATENT"} and sampling.is_sampler(facts):
        return await sampling.sample(call)
    return result(await asyncio.to_thread(_simulated, call, facts))


def _simulated(call: NodeCall, facts: Given) -> NodeResult:
    outputs = tuple(_output(call, facts, index) for index in range(len(call.node_type.outputs)))
    ui = three_d.output_ui(call, facts, outputs) if call.node_type.is_output else None
    return NodeResult(outputs, ui)


def _output(call: NodeCall, facts: Given, index: int) -> Any:
    declared = call.node_type.outputs[index]
    value = value_of(call, facts, index)
    return [value] if declared.is_list else value


def value_of(call: NodeCall, facts: Given, index: int) -> Any:
    """A value of the kind that output number `index` declares."""
    kind = call.node_type.outputs[index].kind
    name = call.node_type.outputs[index].name
    if kind in ("CONDITIONING",):
        return conditioning(call, facts, index)
    if kind == "LATENT":
        return latent(facts, sum(output.kind == "LATENT" for output in call.node_type.outputs[:index]))
    if kind == "GUIDER":
        return sampling.guider(call)
    if kind in ("*", MATCH_TYPE):
        return next((value for value in facts.values.values() if not isinstance(value, str)), "")
    if kind in _MAKERS:
        return _MAKERS[kind](facts, name)
    if kind.startswith("FILE_3D"):
        return facts.first(FileBlob) or three_d.file_of(kind)
    if kind == "SIGMAS":
        return facts.first(Sigmas) or sampling.any_scheduler(call)
    return model(call, facts, kind)


def picture(facts: Given, name: str = "") -> Array:
    """Pictures: of a latent if there is one, drawn for a prompt, else those that came in, marked."""
    samples = facts.first(Latent)
    if samples is not None and samples.kind == "image":
        return draw(samples)
    images, prompts = facts.images(), facts.prompts()
    if prompts or not images:
        return draw(_invented(facts, images, prompts))
    marked = [caption(one[..., :3], facts.class_type) for one in images[0]]
    return frozen_array(np.stack(marked))


def _invented(facts: Given, images: list[Array], prompts: list[str], frames: int = 0) -> Latent:
    width, height = _size(facts, images)
    layer = Layer(
        prompt=", ".join(prompts),
        model=facts.class_type,
        seed=facts.whole("seed", "noise_seed"),
        steps=20,
        cfg=7.0,
        digest=facts.digest,
        guides=tuple(Guide(image[:1], 0.4) for image in images),
    )
    return Latent(width, height, frames=frames, layers=(layer,))


def _size(facts: Given, images: list[Array]) -> tuple[int, int]:
    width, height = facts.whole("width"), facts.whole("height")
    if 16 <= width <= 4096 and 16 <= height <= 4096:
        return width, height
    if images:
        return int(images[0].shape[2]), int(images[0].shape[1])
    return _SIDE, _SIDE


def _mask(facts: Given, name: str) -> Array:
    """A soft ellipse in the middle, in the size of the picture."""
    masks, images = facts.masks(), facts.images()
    if masks and not images:
        return masks[0]
    count = len(images[0]) if images else 1
    width, height = _size(facts, images)
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height) - np.float32(0.5))[:, None]
    x = ((np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width) - np.float32(0.5))[None, :]
    soft = np.clip((np.float32(0.12) - x * x - y * y) * np.float32(30), 0, 1)
    return frozen_array(np.broadcast_to(soft, (count, height, width)))


def _video(facts: Given, name: str) -> Video:
    before = facts.first(Video)
    if before is not None:
        return before
    images, prompts = facts.images(), facts.prompts()
    if images and len(images[0]) > 1 and not prompts:
        return Video(images[0][..., :3], facts.number("fps", default=_VIDEO_FPS), facts.first(Audio))
    seconds = min(max(facts.number("duration", "seconds", "length", default=2.0), 0.5), _VIDEO_FRAMES / _VIDEO_FPS)
    frames = draw(_invented(facts, images, prompts, int(seconds * _VIDEO_FPS)))
    return Video(frames, _VIDEO_FPS, tune(facts.digest, seconds))


def _audio(facts: Given, name: str) -> Audio:
    samples = facts.first(Latent)
    if samples is not None:
        sound = next((part for part in samples.parts if part.kind == "audio"), samples)
        seconds = sound.seconds or max(sound.frames, 1) / 25
        return tune(facts.digest, seconds)
    before = facts.first(Audio)
    return before or tune(facts.digest, facts.number("duration", "seconds", default=1.0))


def _text(facts: Given, name: str) -> str:
    own = facts.text(name.lower())
    if own:
        return own
    prompt = ", ".join(facts.prompts())
    return f"Simulated text of {facts.class_type}" + (f": {prompt}" if prompt else "")


def _whole(facts: Given, name: str) -> int:
    images = facts.images()
    sizes = {"width": 2, "height": 1, "count": 0, "batch_size": 0}
    if images and name.lower() in sizes:
        return int(images[0].shape[sizes[name.lower()]])
    return facts.whole(name, name.lower(), "length", "count", default=1)


def _number(facts: Given, name: str) -> float:
    return float(facts.number(name, name.lower(), "fps", default=1.0))


def _choice(facts: Given, name: str) -> Any:
    return facts.values.get(name, next((value for value in facts.values.values() if isinstance(value, str)), ""))


def _noise(facts: Given, name: str) -> Noise:
    return Noise(facts.whole("seed", "noise_seed"))


def _svg(facts: Given, name: str) -> FileBlob:
    return facts.first(FileBlob) or three_d.svg_of(facts.digest, label(_invented(facts, [], facts.prompts()).layers[0]))


def _box(facts: Given, name: str) -> Any:
    width, height = _size(facts, facts.images())
    return {"x": width // 4, "y": height // 4, "width": width // 2, "height": height // 2}


def _list(facts: Given, name: str) -> list[Any]:
    return []


def _dict(facts: Given, name: str) -> dict[str, Any]:
    return {"simulated": facts.class_type}


def _true(facts: Given, name: str) -> bool:
    return True


def _colour(facts: Given, name: str) -> str:
    return "#" + facts.digest[:6]


_MAKERS: dict[str, Callable[[Given, str], Any]] = {
    "IMAGE": picture,
    "MASK": _mask,
    "VIDEO": _video,
    "AUDIO": _audio,
    "STRING": _text,
    "INT": _whole,
    "FLOAT": _number,
    "BOOLEAN": _true,
    "COMBO": _choice,
    "NOISE": _noise,
    "SVG": _svg,
    "BOUNDING_BOX": _box,
    "ARRAY": _list,
    "DICT": _dict,
    "COLOR": _colour,
}
