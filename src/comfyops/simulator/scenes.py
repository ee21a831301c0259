"""Pictures drawn instead of sampled: landscapes, seas and cities, the same on any machine for the same parameters.

The prompt chooses scene and palette, everything else (seed, model, steps, ...) moves shapes and shades. Only additions,
multiplications, divisions and comparisons of float32 are used, which give the same bits everywhere; sines and
exponentials would not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from comfyops.simulator.values import fingerprint

if TYPE_CHECKING:
    from comfyops.simulator.values import Array

Colour = tuple[float, float, float]

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
    "mint": ("#1b6b72", "#6fc7b0", "#e6f7e4", "#fffff0", "#5fa79a", "#0f3d3e", "#ff9f6e"),
}
_MOODS = (
    ("neon", "neon cyber cyberpunk synthwave arcade robot android futuristic"),
    ("night", "night midnight moon moonlit dark stars starry space galaxy cosmic noir"),
    ("dusk", "sunset dusk evening volcano fire lava red"),
    ("dawn", "dawn sunrise morning golden mist misty fog"),
    ("snow", "snow winter ice icy frozen glacier arctic white"),
    ("sea", "sea ocean water harbour harbor beach island lake boat ship underwater wave waves fish"),
    ("desert", "desert dune dunes sand canyon savanna western"),
    ("forest", "forest jungle tree trees wood woods garden meadow grass green"),
    ("autumn", "autumn fall harvest orange brown"),
    ("rose", "flower flowers blossom pink love portrait fashion"),
)
_SCENES = (
    (
        "city",
        "city town street skyline building buildings tower rooftop rooftops urban skyscraper castle market",
    ),
    ("sea", "sea ocean water harbour harbor beach island lake boat ship wave waves river"),
    ("forest", "forest jungle tree trees wood woods pine pines park garden"),
    ("hills", "hill hills mountain mountains valley desert dune dunes canyon landscape field meadow"),
)
_PEOPLE = frozenset(
    [
        "portrait",
        "person",
        "people",
        "woman",
        "man",
        "girl",
        "boy",
        "child",
        "hero",
        "heroine",
        "knight",
        "warrior",
        "wizard",
        "character",
        "she",
        "he",
        "king",
        "queen",
        "astronaut",
        "robot",
        "traveller",
        "traveler",
        "detective",
        "samurai",
        "explorer",
        "soldier",
        "captain",
        "woman's",
        "man's",
        "face",
    ]
)


def scene(prompt: str, digest: str, width: int, height: int, *, steps: int = 20, cfg: float = 7.0) -> Array:
    """One drawn scene without its strip: [height, width, 3]."""
    words = set(re.findall(r"[a-z']+", prompt.lower()))
    theme = Random(int(fingerprint(prompt)[:16], 16))
    detail = Random(int(digest[:16], 16))
    palette = [_colour(code) for code in PALETTES[_matching(_MOODS, words) or theme.choice(sorted(PALETTES))]]
    kind = _matching(_SCENES, words) or theme.choice(("hills", "hills", "sea", "forest", "city"))
    palette = [_shifted(colour, detail, cfg) for colour in palette]
    canvas = _Canvas(width, height)
    _sky(canvas, palette, detail)
    _land(canvas, palette, kind, detail, octaves=2 + min(max(steps, 1), 60) // 12)
    if words & _PEOPLE:
        _figure(canvas, palette, detail)
    _vignette(canvas)
    return canvas.pixels


class _Canvas:
    """A picture being painted, with the coordinates of its pixels: y and x run from 0 to 1 and to the aspect ratio."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.y: Array = (np.arange(height, dtype=np.float32) / np.float32(max(height, 1)))[:, None]
        self.x: Array = (np.arange(width, dtype=np.float32) / np.float32(max(height, 1)))[None, :]
        self.aspect = width / max(height, 1)
        self.pixels: Array = np.zeros((height, width, 3), dtype=np.float32)

    def paint(self, mask: Array, colour: Colour | Array, top: int = 0, bottom: int | None = None) -> None:
        """Lay a colour over the rows from top to bottom, as much as the mask says."""
        rows = self.pixels[top:bottom]
        rows += (np.asarray(colour, dtype=np.float32) - rows) * mask[..., None]

    def row(self, y: float) -> int:
        """The row of pixels at this height."""
        return min(max(int(y * self.height), 0), self.height)

    def column(self, x: float) -> int:
        """The column of pixels at this distance from the left."""
        return min(max(int(x * self.height), 0), self.width)


def _sky(canvas: _Canvas, palette: Sequence[Colour], rng: Random) -> None:
    top, middle, horizon, light = (np.asarray(colour, dtype=np.float32) for colour in palette[:4])
    t = np.minimum(canvas.y * np.float32(1.5), np.float32(1))
    upper, lower = np.clip(t * 2, 0, 1), np.clip(t * 2 - 1, 0, 1)
    column = top + (middle - top) * upper + (horizon - middle) * lower
    canvas.pixels[:] = column[:, None, :]
    if sum(palette[0]) < 0.75:
        _stars(canvas, rng)
    sun_x, sun_y = (0.18 + 0.64 * rng.random()) * canvas.aspect, 0.16 + 0.3 * rng.random()
    radius = 0.035 + 0.06 * rng.random()
    dx, dy = canvas.x - np.float32(sun_x), canvas.y - np.float32(sun_y)
    distance = dx * dx + dy * dy
    glow = np.float32(0.62) / (1 + distance * np.float32(14 / (radius * 14)))
    canvas.paint(glow * glow, palette[3])
    canvas.paint(np.clip((np.float32(radius * radius) - distance) * np.float32(900), 0, 1), light)
    for _ in range(3 + rng.randrange(4)):
        _cloud(canvas, palette, rng)


def _stars(canvas: _Canvas, rng: Random) -> None:
    for _ in range(int(90 * canvas.aspect)):
        y, x = int(rng.random() * rng.random() * 0.6 * canvas.height), int(rng.random() * canvas.width)
        size = 1 + (canvas.height > 700) + (rng.random() > 0.85)
        canvas.pixels[y : y + size, x : x + size] += np.float32(0.35 + 0.5 * rng.random())
    np.clip(canvas.pixels, 0, 1, out=canvas.pixels)


def _cloud(canvas: _Canvas, palette: Sequence[Colour], rng: Random) -> None:
    cy, cx = 0.06 + 0.38 * rng.random(), rng.random() * canvas.aspect
    rx, ry = 0.18 + 0.3 * rng.random(), 0.012 + 0.022 * rng.random()
    top, bottom = canvas.row(cy - 2 * ry), canvas.row(cy + 2 * ry)
    dy = (canvas.y[top:bottom] - np.float32(cy)) / np.float32(ry)
    dx = (canvas.x - np.float32(cx)) / np.float32(rx)
    soft = np.clip(1 - (dx * dx + dy * dy) * np.float32(0.5), 0, 1)
    canvas.paint(soft * soft * np.float32(0.5), _mix(palette[2], palette[3], 0.5), top, bottom)


def _land(canvas: _Canvas, palette: Sequence[Colour], kind: str, rng: Random, octaves: int) -> None:
    layers = 4 + rng.randrange(2)
    start = 0.44 + 0.1 * rng.random()
    for number in range(layers):
        depth = number / (layers - 1)
        base = start + (0.86 - start) * depth
        height = base - _noise(canvas, rng, 1.5 + 2.2 * rng.random(), octaves) * np.float32(0.24 - 0.13 * depth)
        if kind == "city" and number >= 1:
            height = _buildings(canvas, rng, base, depth)
        elif kind == "forest" and number >= layers - 2:
            height = _trees(canvas, rng, height, depth)
        colour = _mix(_mix(palette[4], palette[2], 0.35 * (1 - depth)), palette[5], depth)
        _ridge(canvas, height, colour, palette[2], 0.55 - 0.35 * depth)
        if kind == "city" and number >= layers - 2:
            _windows(canvas, rng, height, palette[6])
        if kind == "sea" and number == 1:
            _water(canvas, palette, rng, start + 0.2)
            return


def _ridge(canvas: _Canvas, height: Array, colour: Colour, mist: Colour, fade: float) -> None:
    top = canvas.row(float(height.min()) - 0.01)
    depth = canvas.y[top:] - height[None, :]
    mask = np.clip(depth * np.float32(canvas.height) + np.float32(0.5), 0, 1)
    haze = np.clip(depth * np.float32(2.2), 0, 1)[..., None] * np.float32(fade)
    near = np.asarray(colour, dtype=np.float32)
    canvas.paint(mask, near + (np.asarray(mist, dtype=np.float32) - near) * haze, top)


def _noise(canvas: _Canvas, rng: Random, frequency: float, octaves: int) -> Array:
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


def _trees(canvas: _Canvas, rng: Random, height: Array, depth: float) -> Array:
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


def _buildings(canvas: _Canvas, rng: Random, base: float, depth: float) -> Array:
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


def _windows(canvas: _Canvas, rng: Random, height: Array, colour: Colour) -> None:
    """Lit windows in the houses below a line."""
    step = max(canvas.height // 64, 4)
    size = max(step // 3, 1)
    glow = np.asarray(colour, dtype=np.float32)
    for left in range(step // 2, canvas.width - step, step):
        roof = int(float(max(height[left], height[left + size])) * canvas.height)
        for top in range(roof + step // 2 + step - roof % step, canvas.height, step):
            if rng.random() < 0.3:
                canvas.pixels[top : top + size + 1, left : left + size] = glow * np.float32(0.55 + 0.4 * rng.random())


def _water(canvas: _Canvas, palette: Sequence[Colour], rng: Random, shore: float) -> None:
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


def _figure(canvas: _Canvas, palette: Sequence[Colour], rng: Random) -> None:
    """Somebody standing in front, as a silhouette with a rim of light."""
    x, head = (0.3 + 0.4 * rng.random()) * canvas.aspect, 0.045 + 0.02 * rng.random()
    neck = 0.58 + 0.06 * rng.random()
    rim, body = _mix(palette[3], palette[4], 0.3), _mix(palette[5], (0.02, 0.02, 0.05), 0.55)
    for grow, colour in ((0.004, rim), (0.0, body)):
        _ellipse(canvas, x, neck - head, head * 0.8 + grow, head + grow, colour)
        shoulders = head * 2.0 + grow
        top = canvas.row(neck - grow)
        t = np.clip((canvas.y[top:] - np.float32(neck - grow)) * np.float32(9), 0, 1)
        half = np.float32(shoulders) * (np.float32(0.25) + t * (2 - t) * np.float32(0.75))
        mask = np.clip((half - np.abs(canvas.x - np.float32(x))) * np.float32(canvas.height), 0, 1)
        canvas.paint(mask, colour, top)


def _ellipse(canvas: _Canvas, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
    top, bottom = canvas.row(y - ry), canvas.row(y + ry) + 1
    dx = (canvas.x - np.float32(x)) / np.float32(rx)
    dy = (canvas.y[top:bottom] - np.float32(y)) / np.float32(ry)
    mask = np.clip((1 - dx * dx - dy * dy) * np.float32(rx * canvas.height / 2), 0, 1)
    canvas.paint(mask, colour, top, bottom)


def _vignette(canvas: _Canvas) -> None:
    dy = canvas.y - np.float32(0.5)
    dx = canvas.x / np.float32(canvas.aspect) - np.float32(0.5)
    canvas.pixels *= (np.float32(1.05) - dx * dx * np.float32(0.5) - dy * dy * np.float32(0.5))[..., None]
    np.clip(canvas.pixels, 0, 1, out=canvas.pixels)


def _matching(table: Sequence[tuple[str, str]], words: set[str]) -> str:
    return next((name for name, known in table if words & set(known.split())), "")


def _colour(code: str) -> Colour:
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shifted(colour: Colour, rng: Random, cfg: float) -> Colour:
    """A slightly other shade; a higher cfg gives more colour, as it does with real models."""
    grey = sum(colour) / 3
    strength = 0.82 + min(max(cfg, 0.0), 20.0) * 0.03
    red, green, blue = (
        min(max(grey + (part - grey) * strength + (rng.random() - 0.5) * 0.05, 0.0), 1.0) for part in colour
    )
    return red, green, blue
