"""The local engine: a video by pan and zoom over key frames, or over title cards drawn from the prompt.

No model and no server is at work, and every frame says so. The same request gives the same frames.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from comfyops import __version__
from comfyops.errors import UsageError
from comfyops.execution import frames, masks, video_files
from comfyops.execution.generation import Engine, GenerationRequest, GenerationResult
from comfyops.workflows.lengths import MAX_FRAMES

LABEL = "LOCAL ENGINE · NO MODEL"
_FADE = 8
"""Frames in which one key frame passes into the next."""

_NEAR, _FAR = 1.0, 1.28
_SIDES = (64, 8192)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class _Move:
    """Where the camera is at the start and the end of a key frame: zoom, and the centre in parts of the free room."""

    zoom: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, part: float) -> tuple[float, float, float]:
        eased = part * part * (3 - 2 * part)
        zoom, x, y = (start + (end - start) * eased for start, end in (self.zoom, self.x, self.y))
        return zoom, x, y


def generate(request: GenerationRequest, folder: Path) -> GenerationResult:
    """Draw and encode the video; it has exactly the frames and the size that are asked for.

    Without them it has 24 frames a second, three seconds for each key frame, 1280 x 720. Raises UsageError, InputError
    for key frames that cannot be read, MissingExtraError, StorageError.
    """
    began = time.monotonic()
    width, height, fps = request.width or 1280, request.height or 720, request.fps or 24.0
    _check(width, height, fps, request)
    seed = request.seed if request.seed is not None else _seed_of(request.prompt)
    keys = _key_frames(request, (width, height), seed)
    count = request.frames or round(3 * fps) * len(keys)
    drawn = _drawn(keys, _moves(len(keys), seed), count, (width, height))
    path = folder / f"local-{_name(request.prompt)}-{seed}-{width}x{height}-{count}.mp4"
    remark = f"Made by the local engine of ComfyOps {__version__} from key frames; no model was used."
    video_files.write(path, drawn, fps, metadata={"title": LABEL, "comment": remark})
    return GenerationResult(
        recipe="local-pan-and-zoom",
        engine=Engine.LOCAL,
        outputs=(path,),
        frames=frames.opened([path]),
        seed=seed,
        fps=fps,
        seconds=time.monotonic() - began,
        warnings=(remark,),
        provenance={"engine": Engine.LOCAL, "simulated": False, "seed": seed, "key_frames": len(keys)},
    )


def _check(width: int, height: int, fps: float, request: GenerationRequest) -> None:
    if not (_SIDES[0] <= min(width, height) and max(width, height) <= _SIDES[1]):
        raise UsageError(f"The local engine makes sides from {_SIDES[0]} to {_SIDES[1]} pixels.", hint="Give others.")
    if not 1 <= fps <= 240:
        raise UsageError("A video has from 1 to 240 frames a second.", hint="Give another rate.")
    if request.frames is not None and not 1 <= request.frames <= MAX_FRAMES:
        raise UsageError(f"A video has from 1 to {MAX_FRAMES} frames.", hint="Give another number.")


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "video"


def _key_frames(request: GenerationRequest, size: tuple[int, int], seed: int) -> list[Image.Image]:
    """The given pictures, or a title card for each sentence of the prompt, larger than the frame for the camera."""
    large = (round(size[0] * _FAR), round(size[1] * _FAR))
    if request.images:
        return [_covering(masks.opened(picture).convert("RGB"), large) for picture in request.images]
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+", request.prompt) if part.strip()]
    return [_card(text, large, seed + number) for number, text in enumerate(sentences or ["(no prompt)"])]


def _covering(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = max(size[0] / picture.width, size[1] / picture.height)
    scaled = picture.resize(
        (max(round(picture.width * scale), size[0]), max(round(picture.height * scale), size[1])),
        Image.Resampling.LANCZOS,
    )
    return masks.cut(scaled, size)


def _card(text: str, size: tuple[int, int], seed: int) -> Image.Image:
    """A title card: the text on a gradient."""
    random = Random(seed)
    top, bottom = (tuple(random.randrange(20, 110) for _ in range(3)) for _ in range(2))
    ramp = Image.linear_gradient("L").resize(size)
    card = Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)
    draw = ImageDraw.Draw(card)
    font = ImageFont.load_default(max(size[1] // 16, 12))
    lines = _wrapped(draw, text, font, size[0] * 0.6)
    draw.multiline_text((size[0] / 2, size[1] / 2), lines, "#f4f1ea", font, anchor="mm", align="center", spacing=10)
    return card


def _wrapped(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float
) -> str:
    lines = [""]
    for word in text.split()[:60]:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines[:8])


def _moves(count: int, seed: int) -> list[_Move]:
    random = Random(seed)
    moves = []
    for number in range(count):
        zoom = (_NEAR, _FAR) if number % 2 == 0 else (_FAR, _NEAR)
        x, y = ((random.uniform(0.2, 0.8), random.uniform(0.2, 0.8)) for _ in range(2))
        moves.append(_Move(zoom, x, y))
    return moves


def _drawn(keys: list[Image.Image], moves: list[_Move], count: int, size: tuple[int, int]) -> Iterator[Image.Image]:
    """Exactly `count` frames, shared out among the key frames."""
    edges = [round(number * count / len(keys)) for number in range(len(keys) + 1)]
    for number, (start, end) in enumerate(pairwise(edges)):
        for at in range(start, end):
            part = (at - start) / max(end - start - 1, 1)
            picture = _view(keys[number], moves[number].at(part), size)
            left = end - at
            if number + 1 < len(keys) and left <= _FADE < end - start:
                following = _view(keys[number + 1], moves[number + 1].at(0.0), size)
                picture = Image.blend(picture, following, 1 - left / (_FADE + 1))
            yield _labelled(picture)


def _view(key: Image.Image, camera: tuple[float, float, float], size: tuple[int, int]) -> Image.Image:
    zoom, x, y = camera
    width, height = key.width / zoom, key.height / zoom
    left, top = (key.width - width) * x, (key.height - height) * y
    box = (left, top, left + width, top + height)
    return key.resize(size, Image.Resampling.BILINEAR, box=box)


def _labelled(picture: Image.Image) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(min(picture.size) // 30, 10))
    left, top, right, bottom = draw.textbbox((10, 8), LABEL, font)
    draw.rectangle((left - 5, top - 4, right + 5, bottom + 4), "#14171c")
    draw.text((10, 8), LABEL, "#e0a63b", font)
    return picture
