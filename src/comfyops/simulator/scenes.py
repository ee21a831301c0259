"""Pictures drawn instead of sampled: landscapes, seas and cities, the same on any machine for the same parameters.

The prompt chooses scene and palette, everything else (seed, model, steps, ...) moves shapes and shades. Only additions,
multiplications, divisions and comparisons of float32 are used, which give the same bits everywhere; sines and
exponentials would not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from comfyops.simulator.canvas import Canvas, Colour, colour_of, ellipse, glow, mix, tower
from comfyops.simulator.subjects import put_subjects
from comfyops.simulator.values import Draws, fingerprint

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

# Each palette: sky at the top, in the middle and at the horizon; sun; farthest and nearest ground; accent.
PALETTES: dict[str, tuple[str, ...]] = {
    "dawn": ("#2b3a67", "#c06c84", "#f8b195", "#fff1d0", "#a56a7f", "#2a1e3b", "#ffd166"),
    "noon": ("#2f80c3", "#7cc0ea", "#dff3fb", "#fffbe6", "#7fa8bd", "#1f4d3f", "#f4d35e"),
    "dusk": ("#1a1446", "#7b2d6b", "#ff7b54", "#ffe8a3", "#8a3b63", "#170f2e", "#ffb26b"),
    "forest": ("#3d6b6b", "#9fc9ad", "#eef6d9", "#fffde0", "#6f9e86", "#12312a", "#e9c46a"),
    "sea": ("#0b4f6c", "#3fa7c4", "#c9f0ee", "#fffaf0", "#4b90a6", "#0a2f45", "#ffd6a5"),
    "desert": ("#5b7db1", "#f2c498", "#fde9c8", "#fffdf2", "#d79a6b", "#6b3420", "#e76f51"),
    "snow": ("#5d7fa8", "#b7cfe6", "#f5f9fd", "#ffffff", "#9fb8d3", "#33506f", "#f7b267"),
    "night": ("#060b26", "#15245a", "#3c4f8f", "#f4f1de", "#28386f", "#050817", "#ffe08a"),
    "neon": ("#12042f", "#4b0f6b", "#f72585", "#ffd6f5", "#5a189a", "#0a0220", "#4cc9f0"),
    "autumn": ("#6d8299", "#e0b089", "#fbe3c0", "#fff7e0", "#c07f4f", "#4a2416", "#d1495b"),
    "rose": ("#6a4c93", "#d99ac5", "#fde2e4", "#fff5f7", "#b07aa1", "#3a1f4d", "#ffca3a"),
    "lantern": ("#120a0c", "#3a1d16", "#b5651d", "#ffe3a3", "#6b3a22", "#1a0d0d", "#ffb347"),
    "mint": ("#1b6b72", "#6fc7b0", "#e6f7e4", "#fffff0", "#5fa79a", "#0f3d3e", "#ff9f6e"),
}
# Light comes before place; within a table the word that comes first in the prompt decides.
_LIGHT = {
    "neon": "neon cyber cyberpunk synthwave arcade futuristic",
    "lantern": "lantern candle candlelight torch campfire fireplace firelight",
    "night": "night midnight moon moonlit moonlight dark stars starry space galaxy cosmic noir",
    "dusk": "sunset dusk evening volcano fire lava",
    "dawn": "dawn sunrise morning golden mist misty fog",
}
_PLACE = {
    "snow": "snow snowy winter ice icy frozen glacier arctic",
    "sea": "sea ocean water harbour harbor beach island lake boat ship underwater wave waves fish",
    "desert": "desert dune dunes sand canyon savanna western",
    "forest": "forest jungle tree trees wood woods garden meadow grass green",
    "autumn": "autumn fall harvest fox orange",
    "rose": "flower flowers blossom pink love portrait fashion",
}
_SCENES = {
    "inside": "stairs staircase room hall corridor interior inside kitchen library cave tunnel bedroom office attic",
    "city": "city town street skyline building buildings rooftop rooftops urban skyscraper skyscrapers market",
    "sea": "sea ocean water harbour harbor beach island lake boat ship wave waves river cliff",
    "forest": "forest jungle tree trees wood woods pine pines park garden",
    "hills": "hill hills mountain mountains valley desert dune dunes canyon landscape field meadow castle",
}


def scene(prompt: str, digest: str, width: int, height: int, *, steps: int = 20, cfg: float = 7.0) -> Array:
    """One drawn scene without its strip: [height, width, 3]."""
    words = re.findall(r"[a-z]+", prompt.lower())
    theme = Draws(fingerprint(prompt))
    detail = Draws(digest)
    palette = [
        colour_of(code)
        for code in PALETTES[_matching(_LIGHT, words) or _matching(_PLACE, words) or theme.pick(sorted(PALETTES))]
    ]
    kind = _matching(_SCENES, words) or theme.pick(("hills", "hills", "sea", "forest", "city"))
    palette = [_shifted(colour, detail, cfg) for colour in palette]
    canvas = Canvas(width, height)
    if kind == "inside":
        _room(canvas, palette, detail)
    else:
        _sky(canvas, palette, detail)
        _land(canvas, palette, kind, detail, octaves=2 + min(max(steps, 1), 60) // 12)
    put_subjects(canvas, prompt.lower(), palette, detail, inside=kind == "inside")
    _vignette(canvas)
    return canvas.pixels


def _sky(canvas: Canvas, palette: Sequence[Colour], rng: Draws) -> None:
    top, middle, horizon, light = (np.asarray(colour, dtype=np.float32) for colour in palette[:4])
    t = np.minimum(canvas.y * np.float32(1.5), np.float32(1))
    upper, lower = np.clip(t * 2, 0, 1), np.clip(t * 2 - 1, 0, 1)
    column = top + (middle - top) * upper + (horizon - middle) * lower
    canvas.pixels[:] = column[:, None, :]
    if sum(palette[0]) < 0.6:
        _stars(canvas, rng)
    sun_x, sun_y = (0.18 + 0.64 * rng.random()) * canvas.aspect, 0.16 + 0.3 * rng.random()
    radius = 0.035 + 0.06 * rng.random()
    dx, dy = canvas.x - np.float32(sun_x), canvas.y - np.float32(sun_y)
    distance = dx * dx + dy * dy
    glow = np.float32(0.62) / (1 + distance * np.float32(14 / (radius * 14)))
    canvas.paint(glow * glow, palette[3])
    canvas.paint(np.clip((np.float32(radius * radius) - distance) * np.float32(900), 0, 1), light)
    for _ in range(3 + rng.below(4)):
        _cloud(canvas, palette, rng)


def _stars(canvas: Canvas, rng: Draws) -> None:
    for _ in range(int(90 * canvas.aspect)):
        y, x = int(rng.random() * rng.random() * 0.6 * canvas.height), int(rng.random() * canvas.width)
        size = 1 + (canvas.height > 700) + (rng.random() > 0.85)
        canvas.pixels[y : y + size, x : x + size] += np.float32(0.35 + 0.5 * rng.random())
    np.clip(canvas.pixels, 0, 1, out=canvas.pixels)


def _cloud(canvas: Canvas, palette: Sequence[Colour], rng: Draws) -> None:
    cy, cx = 0.06 + 0.38 * rng.random(), rng.random() * canvas.aspect
    rx, ry = 0.18 + 0.3 * rng.random(), 0.012 + 0.022 * rng.random()
    top, bottom = canvas.row(cy - 2 * ry), canvas.row(cy + 2 * ry)
    dy = (canvas.y[top:bottom] - np.float32(cy)) / np.float32(ry)
    dx = (canvas.x - np.float32(cx)) / np.float32(rx)
    soft = np.clip(1 - (dx * dx + dy * dy) * np.float32(0.5), 0, 1)
    canvas.paint(soft * soft * np.float32(0.5), mix(palette[2], palette[3], 0.5), top, bottom)


def _land(canvas: Canvas, palette: Sequence[Colour], kind: str, rng: Draws, octaves: int) -> None:
    layers = 4 + rng.below(2)
    start = 0.44 + 0.1 * rng.random()
    for number in range(layers):
        depth = number / (layers - 1)
        base = start + (0.86 - start) * depth
        height = base - _noise(canvas, rng, 1.5 + 2.2 * rng.random(), octaves) * np.float32(0.24 - 0.13 * depth)
        if kind == "city" and number >= 1:
            height = _buildings(canvas, rng, base, depth)
        elif kind == "forest" and number >= layers - 2:
            height = _trees(canvas, rng, height, depth)
        colour = mix(mix(palette[4], palette[2], 0.35 * (1 - depth)), palette[5], depth)
        _ridge(canvas, height, colour, palette[2], 0.55 - 0.35 * depth)
        if kind == "city" and number >= layers - 2:
            _windows(canvas, rng, height, palette[6])
        if kind == "sea" and number == 1:
            _water(canvas, palette, rng, start + 0.2)
            return


def _ridge(canvas: Canvas, height: Array, colour: Colour, mist: Colour, fade: float) -> None:
    top = canvas.row(float(height.min()) - 0.01)
    depth = canvas.y[top:] - height[None, :]
    mask = np.clip(depth * np.float32(canvas.height) + np.float32(0.5), 0, 1)
    haze = np.clip(depth * np.float32(2.2), 0, 1)[..., None] * np.float32(fade)
    near = np.asarray(colour, dtype=np.float32)
    canvas.paint(mask, near + (np.asarray(mist, dtype=np.float32) - near) * haze, top)


def _noise(canvas: Canvas, rng: Draws, frequency: float, octaves: int) -> Array:
    """A wavy line from 0 to 1, one value per column; its shape does not depend on the picture's size."""
    total = np.zeros(canvas.width, dtype=np.float32)
    strength, whole = 1.0, 0.0
    for _ in range(octaves):
        points = np.asarray([rng.random() for _ in range(96)], dtype=np.float32)
        place = canvas.x[0] * np.float32(frequency)
        cell = np.floor(place).astype(np.int64)
        t = place - cell.astype(np.float32)
        smooth = t * t * (3 - 2 * t)
        left, right = points[cell % 96], points[(cell + 1) % 96]
        total += (left + (right - left) * smooth) * np.float32(strength)
        whole, strength, frequency = whole + strength, strength * 0.45, frequency * 2.1
    return total / np.float32(whole)


def _trees(canvas: Canvas, rng: Draws, height: Array, depth: float) -> Array:
    """The line of a ridge with conifers standing on it."""
    result = height.copy()
    for _ in range(int((16 + 26 * (1 - depth)) * max(canvas.aspect, 0.5))):
        x, tall = rng.random() * canvas.aspect, (0.07 + 0.1 * rng.random()) * (0.7 + 0.8 * depth)
        wide = tall * (0.2 + 0.1 * rng.random())
        left, right = canvas.column(x - wide), canvas.column(x + wide)
        near = np.abs(canvas.x[0, left:right] - np.float32(x)) / np.float32(wide)
        steps = np.floor(near * 6) / 6 * np.float32(0.55) + near * np.float32(0.45)
        foot = height[min(canvas.column(x), canvas.width - 1)]
        result[left:right] = np.minimum(result[left:right], foot - np.float32(tall) * (1 - steps))
    return result


def _buildings(canvas: Canvas, rng: Draws, base: float, depth: float) -> Array:
    """The line of a row of houses."""
    height = np.full(canvas.width, np.float32(base), dtype=np.float32)
    x = -0.05 * rng.random()
    while x < canvas.aspect:
        wide, tall = 0.035 + 0.07 * rng.random(), (0.04 + 0.3 * rng.random() * rng.random()) * (1.1 - 0.35 * depth)
        left, right = canvas.column(x), canvas.column(x + wide)
        height[left:right] = np.float32(base - tall)
        if rng.random() < 0.25:
            middle = (left + right) // 2
            height[middle : middle + max(canvas.height // 200, 1)] -= np.float32(0.05)
        x += wide + 0.012 * rng.random()
    return height


def _windows(canvas: Canvas, rng: Draws, height: Array, colour: Colour) -> None:
    """Lit windows in the houses below a line."""
    step = max(canvas.height // 64, 4)
    size = max(step // 3, 1)
    lit = np.asarray(colour, dtype=np.float32)
    for left in range(step // 2, canvas.width - step, step):
        roof = int(float(max(height[left], height[left + size])) * canvas.height)
        for top in range(roof + step // 2 + step - roof % step, canvas.height, step):
            if rng.random() < 0.3:
                canvas.pixels[top : top + size + 1, left : left + size] = lit * np.float32(0.55 + 0.4 * rng.random())


def _water(canvas: Canvas, palette: Sequence[Colour], rng: Draws, shore: float) -> None:
    """A sea in the foreground that mirrors what is above its shore, with glints."""
    top = canvas.row(shore)
    rows = canvas.height - top
    if rows <= 1 or top <= 1:
        return
    source = np.clip(top - 1 - (np.arange(rows) * top) // max(rows, 1), 0, top - 1)
    depth = (np.arange(rows, dtype=np.float32) / np.float32(rows))[:, None, None]
    deep = np.asarray(palette[5], dtype=np.float32)
    mirrored = canvas.pixels[source]
    canvas.pixels[top:] = mirrored + (deep - mirrored) * (np.float32(0.25) + depth * np.float32(0.5))
    light = np.asarray(palette[3], dtype=np.float32)
    for _ in range(130):
        nearness = rng.random()
        y = top + int(nearness * (rows - 1))
        left = int(rng.random() * canvas.width)
        length = int((0.02 + 0.09 * nearness * rng.random()) * canvas.width) + 1
        glint = canvas.pixels[y : y + 1 + canvas.height // 500, left : left + length]
        glint += (light - glint) * np.float32(0.1 + 0.22 * rng.random())


def _room(canvas: Canvas, palette: Sequence[Colour], rng: Draws) -> None:
    """A high room with a stair that climbs to a bright window."""
    dark, warm = np.asarray(palette[5], dtype=np.float32), np.asarray(palette[4], dtype=np.float32)
    canvas.pixels[:] = (warm + (dark - warm) * np.clip(canvas.y * np.float32(1.1), 0, 1))[:, None, :]
    right = rng.random() < 0.5
    window = (0.72 + 0.12 * rng.random() if right else 0.16 + 0.12 * rng.random()) * canvas.aspect
    glow(canvas, window, 0.24, 0.3, palette[2], 0.75)
    ellipse(canvas, window, 0.2, 0.06, 0.1, palette[3])
    tower(canvas, window, 0.2, 0.34, (0.06, 0.06), palette[3])
    tower(canvas, window, 0.1, 0.34, (0.005, 0.005), palette[5])
    steps = 9 + rng.below(4)
    start = 0.42 + 0.06 * rng.random()
    for number in range(steps):
        share = number / steps
        height = start + (0.96 - start) * share
        edge = window + (canvas.aspect * 0.5 - window) * 0.5 + (-1 if right else 1) * share * canvas.aspect * 0.62
        mask = np.clip((canvas.x - np.float32(edge)) * np.float32(canvas.height if right else -canvas.height), 0, 1)
        top, bottom = canvas.row(height), canvas.row(height + 0.012)
        shade = mix(palette[4], palette[5], 0.25 + 0.6 * share)
        canvas.paint(np.broadcast_to(mask, (canvas.height - top, canvas.width)), mix(shade, palette[5], 0.35), top)
        canvas.paint(np.broadcast_to(mask, (bottom - top, canvas.width)), mix(shade, palette[2], 0.45), top, bottom)


def _vignette(canvas: Canvas) -> None:
    dy = canvas.y - np.float32(0.5)
    dx = canvas.x / np.float32(canvas.aspect) - np.float32(0.5)
    canvas.pixels *= (np.float32(1.05) - dx * dx * np.float32(0.5) - dy * dy * np.float32(0.5))[..., None]
    np.clip(canvas.pixels, 0, 1, out=canvas.pixels)


def _matching(table: Mapping[str, str], words: Sequence[str]) -> str:
    """The entry that the first of the words belongs to, "" where none does."""
    known = {word: name for name, listed in table.items() for word in listed.split()}
    return next((known[word] for word in words if word in known), "")


def _shifted(colour: Colour, rng: Draws, cfg: float) -> Colour:
    """A slightly other shade; a higher cfg gives more colour, as it does with real models."""
    grey = sum(colour) / 3
    strength = 0.82 + min(max(cfg, 0.0), 20.0) * 0.03
    red, green, blue = (
        min(max(grey + (part - grey) * strength + (rng.random() - 0.5) * 0.05, 0.0), 1.0) for part in colour
    )
    return red, green, blue
