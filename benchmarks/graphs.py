"""Graphs of any size, as the JSON that POST /prompt takes."""

from __future__ import annotations

from typing import Any

Prompt = dict[str, dict[str, Any]]


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _empty(color: int = 0) -> dict[str, Any]:
    return _node("EmptyImage", width=64, height=64, batch_size=1, color=color)


def _save(image: str) -> dict[str, Any]:
    return _node("SaveImage", images=[image, 0], filename_prefix="bench")


def wide(nodes: int) -> Prompt:
    """Pairs of an empty picture and its own output, nothing shared."""
    graph: Prompt = {}
    for number in range(nodes // 2):
        graph[f"{number}a"] = _empty(number)
        graph[f"{number}b"] = _save(f"{number}a")
    return graph


def chain(nodes: int) -> Prompt:
    """One line of nodes from an empty picture to an output."""
    graph: Prompt = {"1": _empty()}
    for number in range(2, nodes):
        graph[str(number)] = _node("ImageInvert", image=[str(number - 1), 0])
    graph[str(nodes)] = _save(str(nodes - 1))
    return graph


def tree(nodes: int) -> Prompt:
    """A binary tree: every inner node blends its two children; the leaves are empty pictures."""
    graph: Prompt = {}
    for number in range(1, nodes):
        if 2 * number + 1 < nodes:
            sources = {"image1": [str(2 * number), 0], "image2": [str(2 * number + 1), 0]}
            graph[str(number)] = _node("ImageBlend", **sources, blend_factor=0.5, blend_mode="normal")
        else:
            graph[str(number)] = _empty(number)
    graph["save"] = _save("1")
    return graph


def diffusion(nodes: int) -> Prompt:
    """Many pictures from one checkpoint: each with its texts, latent, sampler, decoder and output (six nodes)."""
    graph: Prompt = {"model": _node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")}
    sampling = {"steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    for number in range((nodes - 1) // 6):
        name = f"{number}."
        links = {"positive": [f"{name}text", 0], "negative": [f"{name}not", 0], "latent_image": [f"{name}latent", 0]}
        graph[f"{name}text"] = _node("CLIPTextEncode", clip=["model", 1], text=f"picture {number}")
        graph[f"{name}not"] = _node("CLIPTextEncode", clip=["model", 1], text="blurry")
        graph[f"{name}latent"] = _node("EmptyLatentImage", width=1024, height=1024, batch_size=1)
        graph[f"{name}sample"] = _node("KSampler", model=["model", 0], seed=number, **links, **sampling)
        graph[f"{name}decode"] = _node("VAEDecode", samples=[f"{name}sample", 0], vae=["model", 2])
        graph[f"{name}save"] = _save(f"{name}decode")
    return graph


def painting(model: str, seed: int) -> Prompt:
    """The smallest picture that a checkpoint paints, in one step."""
    return {
        "1": _node("CheckpointLoaderSimple", ckpt_name=model),
        "2": _node("CLIPTextEncode", text="a boat", clip=["1", 1]),
        "3": _node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "4": _node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["2", 0],
            latent_image=["3", 0],
            seed=seed,
            steps=1,
            cfg=1.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "5": _node("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": _save("5"),
    }
