"""/models, /embeddings, /experiment/models: the model files that this server says it has."""

from __future__ import annotations

import os
from typing import Any

from aiohttp import web

from comfyops.simulator.machine import Machine, machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.submission import ServerTroubleError

FOLDERS = (
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "latent_upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
)
_MODERN_FOLDERS = (
    *FOLDERS[:16],
    "datasets",
    *FOLDERS[16:],
    "background_removal",
    "frame_interpolation",
    "geometry_estimation",
    "optical_flow",
    "detection",
)
_NO_MODELS = ("configs", "custom_nodes")
_EXTENSIONS = [".bin", ".ckpt", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".sft"]
_LEGACY = {"unet": "diffusion_models", "clip": "text_encoders"}


def folders_of(here: Machine) -> tuple[str, ...]:
    """Names of the models folders of this version."""
    return _MODERN_FOLDERS if here.modern else FOLDERS


async def get_folders(request: web.Request) -> web.Response:
    """Names of the folders."""
    return json_answer(folders_of(machine(request)))


async def get_files(request: web.Request) -> web.Response:
    """Files of one folder."""
    files = _files(request)
    return web.Response(status=404) if files is None else json_answer(files)


async def get_embeddings(request: web.Request) -> web.Response:
    """Embeddings without their extension."""
    names = machine(request).models.get("embeddings", ())
    return json_answer([name.rpartition(".")[0] or name for name in sorted(names)])


async def get_folder_facts(request: web.Request) -> web.Response:
    """Folders with their paths."""
    here = machine(request)
    names = [name for name in folders_of(here) if name not in _NO_MODELS]
    return json_answer([_folder(here, name) for name in names])


async def get_file_facts(request: web.Request) -> web.Response:
    """Files of one folder with sizes; the times are when the simulator's home was made."""
    files = _files(request)
    if files is None:
        return web.Response(status=404)
    here = machine(request)
    made = here.folders.home.stat().st_mtime
    return json_answer(
        [
            {"name": name, "pathIndex": 0, "modified": made, "created": made, "size": here.residency.size(name)}
            for name in files
        ]
    )


async def get_preview(request: web.Request) -> web.Response:
    """No model has a picture beside it; 0.33 looks at the request first."""
    here, index = machine(request), request.match_info["index"]
    if request.match_info["folder"] not in folders_of(here):
        return web.Response(status=404)
    if not index.lstrip("-").isdigit():
        if not here.modern:
            raise ServerTroubleError("the index is no number")
        return web.Response(status=400)
    if int(index) != 0:
        if not here.modern:
            raise ServerTroubleError("there is no such folder")
        return web.Response(status=404)
    return web.Response(status=403 if here.modern and _escapes(request.match_info["name"]) else 404)


async def get_metadata(request: web.Request) -> web.Response:
    """A safetensors file's own metadata."""
    folder, name = request.match_info["folder"], request.query.get("filename", "")
    known = machine(request).models.get(folder, ())
    if name not in known or not name.endswith(".safetensors"):
        return web.Response(status=404)
    return json_answer({"format": "pt", "note": "simulated"})


def _escapes(name: str) -> bool:
    return os.path.normpath(name).startswith("..")


def _files(request: web.Request) -> list[str] | None:
    here = machine(request)
    folder = request.match_info["folder"]
    if folder not in folders_of(here):
        return None
    return sorted(here.models.get(_LEGACY.get(folder, folder), ()))


def _folder(here: Machine, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "folders": [str(here.folders.home / "models" / name)]}
    if here.modern:
        facts["extensions"] = _EXTENSIONS
    return facts


ROUTES = [
    web.get("/models", get_folders),
    web.get("/models/{folder}", get_files),
    web.get("/embeddings", get_embeddings),
    web.get("/experiment/models", get_folder_facts),
    web.get("/experiment/models/{folder}", get_file_facts),
    web.get("/experiment/models/preview/{folder}/{index}/{name:.*}", get_preview),
    web.get("/view_metadata/{folder}", get_metadata),
]
