from __future__ import annotations

from comfyops.backends.comfyui import ComfyUI
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.storycore.comfyui_config import ComfyUIConfig
from comfyops.storycore.model_discovery import local_models, offered, server_models
from comfyops.workflows.node_types import shipped


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_every_folder_at_any_depth_and_extra_paths(tmp_path):
    comfyui, shared = tmp_path / "ComfyUI", tmp_path / "shared"
    put(comfyui / "models" / "checkpoints" / "sdxl" / "deep" / "a.safetensors")
    put(comfyui / "models" / "unet" / "b.safetensors")
    put(comfyui / "models" / "clip" / "c.safetensors")
    put(comfyui / "models" / "latent_upscale_models" / "d.safetensors")
    put(comfyui / "models" / "checkpoints" / "readme.txt")
    put(comfyui / "models" / "ipadapter" / "g.safetensors")
    put(shared / "vae" / "e.safetensors")
    put(shared / "more" / "f.safetensors")
    (comfyui / "extra_model_paths.yaml").write_text(f"shared:\n  base_path: {shared}\n  vae: vae\n")
    (tmp_path / "more.yaml").write_text(f"more:\n  base_path: {shared}\n  loras: more\n")
    assert local_models(ComfyUIConfig(tmp_path), [tmp_path / "more.yaml"]) == {
        "checkpoints": ["sdxl/deep/a.safetensors"],
        "diffusion_models": ["b.safetensors"],
        "ipadapter": ["g.safetensors"],
        "latent_upscale_models": ["d.safetensors"],
        "loras": ["f.safetensors"],
        "text_encoders": ["c.safetensors"],
        "vae": ["e.safetensors"],
    }


async def test_what_a_server_offers(tmp_path):
    models = {"checkpoints": ("sub/mine.safetensors",), "vae": ("ae.safetensors",)}
    async with (
        Simulator(SimulatorSettings(port=0, models=models)) as simulator,
        ComfyUI(simulator.url) as server,
    ):
        found = await server_models(server)
    assert found["checkpoints"] == ["sub/mine.safetensors"]
    assert "ae.safetensors" in found["vae"]


def test_facts_without_a_server_claim_no_files():
    assert offered(shipped()) == {}
