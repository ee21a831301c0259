"""The model files a simulated server has, and its simulated VRAM."""

from __future__ import annotations

from comfyops.simulator.models import Residency, default_inventory
from comfyops.workflows.node_types import known_folders


def test_the_inventory_has_what_the_families_need() -> None:
    folders = default_inventory().folders
    assert "v1-5-pruned-emaonly-fp16.safetensors" in folders["checkpoints"]
    assert {"sd_xl_base_1.0.safetensors", "sd_xl_refiner_1.0.safetensors"} <= set(folders["checkpoints"])
    assert "sdxl_vae.safetensors" in folders["vae"]
    assert "qwen_image_fp8_e4m3fn.safetensors" in folders["diffusion_models"]
    assert "qwen_2.5_vl_7b_fp8_scaled.safetensors" in folders["text_encoders"]
    assert "qwen_image_vae.safetensors" in folders["vae"]
    assert all(folders[name] for name in ("loras", "controlnet", "upscale_models", "clip_vision"))


def test_the_inventory_uses_folders_that_nodes_read() -> None:
    read = {folder for inputs in known_folders().values() for folder in inputs.values()}
    assert set(default_inventory().folders) <= read


def test_a_resident_file_is_not_loaded_again() -> None:
    vram = Residency(100, {"a": 40}, 30)
    assert [vram.load("a"), vram.load("a"), vram.load("b")] == [True, False, True]
    assert vram.used_bytes == 70


def test_the_least_recently_used_file_makes_room() -> None:
    vram = Residency(100, {}, 40)
    for name in ("a", "b", "a", "c"):
        vram.load(name)
    assert vram.resident == ("a", "c")
    assert vram.load("b") is True


def test_a_file_larger_than_all_vram_takes_all_of_it() -> None:
    vram = Residency(100, {"huge": 500}, 40)
    vram.load("a")
    vram.load("huge")
    assert (vram.resident, vram.used_bytes) == (("huge",), 100)
    vram.clear()
    assert vram.used_bytes == 0
