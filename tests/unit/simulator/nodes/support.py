"""A working host for nodes under test, and calls of any class."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfyops.simulator.call import NodeCall, NodeResult
from comfyops.simulator.nodes import function_for
from comfyops.simulator.settings import SimulatorSettings
from comfyops.workflows.node_types import shipped


class BenchHost:
    """A host with folders of its own that keeps what nodes tell it."""

    def __init__(self, folder: Path, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.input_folder = folder / "input"
        self.output_folder = folder / "output"
        self.temp_folder = folder / "temp"
        for each in (self.input_folder, self.output_folder, self.temp_folder):
            each.mkdir(parents=True, exist_ok=True)
        self.steps: list[tuple[int, int]] = []
        self.previews: list[bytes] = []
        self.pauses: list[float] = []
        self.images: list[bytes] = []
        self.texts: list[str] = []
        self.models: list[tuple[str, str]] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def progress(self, value: int, maximum: int, preview: bytes | None = None) -> None:
        self.steps.append((value, maximum))
        if preview:
            self.previews.append(preview)

    async def send_image(self, image: bytes) -> None:
        self.images.append(image)

    async def send_text(self, text: str) -> None:
        self.texts.append(text)

    async def load_model(self, folder: str, name: str) -> None:
        self.models.append((folder, name))


class Bench:
    """Runs single nodes, and whole graphs in the order in which they are written."""

    def __init__(self, folder: Path, version: str = "0.33.0", settings: SimulatorSettings | None = None) -> None:
        self.host = BenchHost(folder, settings)
        self.types = shipped(version)

    async def run(self, class_type: str, **inputs: Any) -> NodeResult:
        """Run one node with these values."""
        node_type = self.types[class_type]
        prompt = {"1": {"class_type": class_type, "inputs": {}}}
        return await function_for(node_type)(NodeCall("1", node_type, inputs, self.host, prompt))

    async def out(self, class_type: str, **inputs: Any) -> Any:
        """The first output of one node."""
        return (await self.run(class_type, **inputs)).outputs[0]

    async def graph(self, prompt: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> dict[str, NodeResult]:
        """Run a graph in API format whose nodes are written in an order in which they can run."""
        results: dict[str, NodeResult] = {}
        for node_id, node in prompt.items():
            inputs = {
                name: results[value[0]].outputs[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            node_type = self.types[node["class_type"]]
            if node_type.is_input_list:
                inputs = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
            call = NodeCall(node_id, node_type, inputs, self.host, prompt, extra)
            results[node_id] = await function_for(node_type)(call)
        return results

    def text_to_image(self, **changes: Any) -> dict[str, Any]:
        """The usual seven nodes of Stable Diffusion 1.5 in API format, with changed values."""
        values = {
            "prompt": "a lighthouse over the sea at sunset",
            "negative": "blurry",
            "model": "v1-5-pruned-emaonly-fp16.safetensors",
            "size": (64, 48),
            "seed": 7,
            "steps": 4,
            "cfg": 7.0,
            "sampler": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "batch": 1,
        } | changes
        width, height = values["size"]
        return {
            "1": _node("CheckpointLoaderSimple", ckpt_name=values["model"]),
            "2": _node("CLIPTextEncode", clip=["1", 1], text=values["prompt"]),
            "3": _node("CLIPTextEncode", clip=["1", 1], text=values["negative"]),
            "4": _node("EmptyLatentImage", width=width, height=height, batch_size=values["batch"]),
            "5": _node(
                "KSampler",
                model=["1", 0],
                seed=values["seed"],
                steps=values["steps"],
                cfg=values["cfg"],
                sampler_name=values["sampler"],
                scheduler=values["scheduler"],
                positive=["2", 0],
                negative=["3", 0],
                latent_image=["4", 0],
                denoise=values["denoise"],
            ),
            "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
            "7": _node("SaveImage", images=["6", 0], filename_prefix="test"),
        }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def run_blocking(work: Any) -> Any:
    """Run a coroutine outside of a test's loop."""
    return asyncio.run(work)
