"""Files and servers for the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyops.testing import graphs
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph, GraphBuilder
from tests.acceptance.processes import Server, simulated


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A simulated server of its own for each worker."""
    with simulated() as server:
        yield server


@pytest.fixture(scope="session")
def slow_server() -> Iterator[Server]:
    """A server on which every node takes so long that a test can step in."""
    with simulated("--seconds-per-node", "60", "--seconds-per-step", "60") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with workflows: a picture, a painted one, a loaded one."""
    write(tmp_path / "picture.json", graphs.picture())
    write(tmp_path / "painted.json", painted())
    write(tmp_path / "load.json", graphs.load("none.png"))
    return tmp_path


def write(path: Path, graph: Graph) -> Path:
    """Write a workflow file."""
    path.write_text(api_format.dumps(graph))
    return path


def painted() -> Graph:
    """A picture from a prompt, as a person would draw it in the editor."""
    build = GraphBuilder()
    model = build.add("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    words = build.add("CLIPTextEncode", "Words", text="a lighthouse", clip=model[1])
    avoid = build.add("CLIPTextEncode", "Avoid", text="blurry", clip=model[1])
    empty = build.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    drawn = build.add(
        "KSampler",
        model=model[0],
        positive=words[0],
        negative=avoid[0],
        latent_image=empty[0],
        seed=graphs.any_color(),
        steps=2,
        cfg=6.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=1.0,
    )
    build.add("SaveImage", filename_prefix="painted", images=build.add("VAEDecode", samples=drawn[0], vae=model[2])[0])
    return build.build()
