"""What stands in a scene: people, animals, lighthouses, lanterns, ships, as silhouettes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from comfyops.simulator.canvas import Canvas, Colour, ellipse, glow, mix, tower
from comfyops.simulator.values import Draws

_PEOPLE = re.compile(
    r"\b(portrait|person|people|woman|man|girl|boy|child|hero|heroine|knight|warrior|wizard|witch|character|king|queen|"
    r"astronaut|robot|android|travell?er|detective|samurai|explorer|soldier|captain|keeper|sailor|monk|pilot|farmer|"
    r"fisherman|princess|prince|dancer|doctor|she|he)\b"
)
_ANIMALS = re.compile(r"\b(fox|cat|dog|wolf|kitten|puppy|animal|rabbit|deer|bear)\b")
_LIGHTHOUSE = re.compile(r"\blighthouses?\b(?! keeper)")
_LANTERN = re.compile(r"\b(lantern|candle|torch|campfire)\b")
_SHIP = re.compile(r"\b(ships?|boats?|sailboat|vessel)\b")


def put_subjects(canvas: Canvas, prompt: str, palette: Sequence[Colour], rng: Draws, *, inside: bool) -> None:
    """Put whatever the prompt names into a finished scene."""
    body = mix(palette[5], (0.02, 0.02, 0.05), 0.55)
    if _SHIP.search(prompt) and not inside:
        _ship(canvas, body, rng)
    if _LIGHTHOUSE.search(prompt) and not inside:
        _lighthouse(canvas, palette, body, rng, lit="dark" not in prompt)
    x = 0.34 + 0.32 * rng.random()
    person = _PEOPLE.search(prompt) is not None
    if person:
        _figure(canvas, x * canvas.aspect, palette, body, rng)
    if _ANIMALS.search(prompt):
        _animal(canvas, ((x + 0.27) % 0.8 + 0.08) * canvas.aspect, palette, body, rng)
    if _LANTERN.search(prompt):
        _lantern(canvas, x * canvas.aspect + (0.19 if person else 0.0), palette)


def _figure(canvas: Canvas, x: float, palette: Sequence[Colour], body: Colour, rng: Draws) -> None:
    """Somebody seen from behind, with a rim of light."""
    head, neck = 0.045 + 0.015 * rng.random(), 0.6 + 0.06 * rng.random()
    for grow, colour in ((0.004, mix(palette[3], palette[4], 0.3)), (0.0, body)):
        ellipse(canvas, x, neck - head, head * 0.8 + grow, head + grow, colour)
        top = canvas.row(neck - grow)
        below = canvas.y[top:] - np.float32(neck - grow)
        t = np.clip(below * np.float32(9), 0, 1)
        half = np.float32(head * 2.1 + grow) * (np.float32(0.25) + t * (2 - t) * np.float32(0.75))
        half = half + np.maximum(below - np.float32(0.1), 0) * np.float32(0.16)
        mask = np.clip((half - np.abs(canvas.x - np.float32(x))) * np.float32(canvas.height), 0, 1)
        canvas.paint(mask, colour, top)


def _animal(canvas: Canvas, x: float, palette: Sequence[Colour], body: Colour, rng: Draws) -> None:
    """A small animal that sits: body, head, two ears, tail."""
    size, ground = 0.05 + 0.015 * rng.random(), 0.93
    coat = mix(body, mix(palette[6], (0.7, 0.28, 0.12), 0.6), 0.55)
    ellipse(canvas, x + size * 1.3, ground - size * 0.4, size * 1.1, size * 0.35, coat)
    ellipse(canvas, x, ground - size, size * 0.8, size * 1.25, coat)
    ellipse(canvas, x - size * 0.3, ground - size * 2.5, size * 0.62, size * 0.55, coat)
    for side in (-0.7, 0.1):
        tower(canvas, x + size * side, ground - size * 3.6, ground - size * 2.6, (0.0, size * 0.24), coat)


def _lighthouse(canvas: Canvas, palette: Sequence[Colour], body: Colour, rng: Draws, *, lit: bool) -> None:
    """A tower with a lamp on a rock."""
    x, top = (0.2 + 0.6 * rng.random()) * canvas.aspect, 0.3 + 0.06 * rng.random()
    ellipse(canvas, x, 1.02, 0.34, 0.3, body)
    wall = mix(palette[4], body, 0.45)
    tower(canvas, x, top, 0.78, (0.028, 0.052), wall)
    for band in (0.25, 0.65):
        start = top + (0.78 - top) * band
        half = 0.028 + 0.024 * band
        tower(canvas, x, start, start + 0.06, (half, half + 0.004), mix(palette[3], wall, 0.25))
    tower(canvas, x, top - 0.012, top, (0.042, 0.042), body)
    tower(canvas, x, top - 0.06, top - 0.012, (0.022, 0.022), palette[6] if lit else mix(body, wall, 0.5))
    tower(canvas, x, top - 0.095, top - 0.06, (0.002, 0.03), body)
    if lit:
        glow(canvas, x, top - 0.035, 0.14, palette[6], 0.8)


def _lantern(canvas: Canvas, x: float, palette: Sequence[Colour]) -> None:
    """A light carried by hand."""
    glow(canvas, x, 0.74, 0.16, palette[6], 0.75)
    ellipse(canvas, x, 0.74, 0.02, 0.028, mix(palette[3], palette[6], 0.4))


def _ship(canvas: Canvas, body: Colour, rng: Draws) -> None:
    """A ship with two sails, far out."""
    x, water, size = (0.15 + 0.7 * rng.random()) * canvas.aspect, 0.66, 0.05
    tower(canvas, x, water - size * 0.4, water, (size * 1.1, size * 0.8), body)
    tower(
        canvas, x - size * 0.3, water - size * 2.2, water - size * 0.5, (0.0, size * 0.55), mix(body, (1, 1, 1), 0.35)
    )
    tower(canvas, x + size * 0.5, water - size * 1.7, water - size * 0.5, (0.0, size * 0.4), mix(body, (1, 1, 1), 0.25))
