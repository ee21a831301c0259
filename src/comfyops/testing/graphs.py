"""Small graphs that run on any ComfyUI server, without model files."""

from __future__ import annotations

import random

from comfyops.workflows.graph import Graph, GraphBuilder


def any_color() -> int:
    """A random color, so that a server cannot answer from its cache."""
    return random.randrange(1 << 24)


def picture(color: int | None = None, *, size: int = 16, prefix: str = "comfyops-test") -> Graph:
    """One plain picture, saved by node "2"."""
    build = GraphBuilder()
    image = build.add(
        "EmptyImage", width=size, height=size, batch_size=1, color=any_color() if color is None else color
    )
    build.add("SaveImage", filename_prefix=prefix, images=image[0])
    return build.build()


def slow(nodes: int = 12, *, size: int = 1024) -> Graph:
    """A chain that takes some seconds on a CPU, or as many pauses on a simulated server."""
    build = GraphBuilder()
    image = build.add("EmptyImage", width=size, height=size, batch_size=1, color=any_color())
    for _ in range(nodes):
        image = build.add("ImageBlur", image=image[0], blur_radius=31, sigma=5.0)
    build.add("SaveImage", filename_prefix="comfyops-test", images=image[0])
    return build.build()


def load(name: str) -> Graph:
    """Load a picture from the input folder and save it by node "2"; the mask goes nowhere."""
    build = GraphBuilder()
    image = build.add("LoadImage", image=name)
    build.add("SaveImage", filename_prefix="comfyops-test", images=image[0])
    return build.build()


def words(text: str) -> Graph:
    """Show a text by node "2"."""
    build = GraphBuilder()
    source = build.add("PrimitiveString", value=text)
    build.add("PreviewAny", source=source[0])
    return build.build()


def half_bad() -> Graph:
    """A good picture saved by node "2", and node "3", which lacks its picture."""
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, height=16, batch_size=1, color=any_color())
    build.add("SaveImage", filename_prefix="comfyops-test", images=image[0])
    build.add("SaveImage", filename_prefix="comfyops-test")
    return build.build()


def bad() -> Graph:
    """A picture whose node "1" lacks its height."""
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, batch_size=1, color=any_color())
    build.add("SaveImage", filename_prefix="comfyops-test", images=image[0])
    return build.build()
