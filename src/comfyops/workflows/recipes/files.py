"""Model files that a graph names: which they are, what a server has instead, where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from comfyops.workflows.graph import Graph, Link, Node
from comfyops.workflows.node_types import NodeTypes

_HUB = "https://huggingface.co/"

URLS = MappingProxyType(
    {
        name.rsplit("/", 1)[-1]: _HUB + name
        for name in (
            "Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
            "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
            "Comfy-Org/hunyuan3D_2.1_repackaged/resolve/main/hunyuan_3d_v2.1.safetensors",
            "comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main/control_v11p_sd15_canny_fp16.safetensors",
            "Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files/diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
            "Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
            "Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files/vae/qwen_image_vae.safetensors",
            "Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/"
            "qwen_image_edit_2509_fp8_e4m3fn.safetensors",
            "Comfy-Org/Qwen-Image-InstantX-ControlNets/resolve/main/split_files/controlnet/"
            "Qwen-Image-InstantX-ControlNet-Union.safetensors",
            "lightx2v/Qwen-Image-Lightning/resolve/main/Qwen-Image-Lightning-4steps-V1.0.safetensors",
            "lightx2v/Qwen-Image-Lightning/resolve/main/Qwen-Image-Edit-2509/"
            "Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors",
            "Comfy-Org/Real-ESRGAN_repackaged/resolve/main/RealESRGAN_x4plus.safetensors",
            "Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/diffusion_models/"
            "wan2.1_vace_14B_fp16.safetensors",
            "Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/text_encoders/"
            "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
            "Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/vae/wan_2.1_vae.safetensors",
            "Kijai/WanVideo_comfy/resolve/main/Wan21_CausVid_14B_T2V_lora_rank32.safetensors",
            "Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/diffusion_models/"
            "hunyuanvideo1.5_1080p_sr_distilled_fp16.safetensors",
            "Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/latent_upscale_models/"
            "hunyuanvideo15_latent_upsampler_1080p.safetensors",
            "Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/vae/hunyuanvideo15_vae_fp16.safetensors",
            "Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/text_encoders/"
            "byt5_small_glyphxl_fp16.safetensors",
        )
    }
)
"""Where the files of hand-written recipes come from; official templates name theirs themselves."""

ALTERNATIVES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "qwen_image_fp8_e4m3fn.safetensors": ("qwen_image_bf16.safetensors",),
        "qwen_image_edit_2509_fp8_e4m3fn.safetensors": ("qwen_image_edit_2509_bf16.safetensors",),
        "qwen_2.5_vl_7b_fp8_scaled.safetensors": ("qwen_2.5_vl_7b.safetensors",),
        "mistral_3_small_flux2_bf16.safetensors": (
            "mistral_3_small_flux2_fp8.safetensors",
            "mistral_3_small_flux2_fp4_mixed.safetensors",
        ),
        "mistral_3_small_flux2_fp8.safetensors": ("mistral_3_small_flux2_bf16.safetensors",),
        "full_encoder_small_decoder.safetensors": ("flux2-vae.safetensors",),
        "flux-2-klein-base-4b.safetensors": ("flux-2-klein-base-4b-fp8.safetensors",),
        "flux-2-klein-4b-fp8.safetensors": ("flux-2-klein-4b.safetensors",),
        "ltx-2-19b-dev-fp8.safetensors": ("ltx-2-19b-dev.safetensors",),
        "gemma_3_12B_it_fp4_mixed.safetensors": ("gemma_3_12B_it.safetensors", "gemma_3_12B_it_fp8_scaled.safetensors"),
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors": ("umt5_xxl_fp16.safetensors",),
        "v1-5-pruned-emaonly-fp16.safetensors": ("v1-5-pruned-emaonly.safetensors", "v1-5-pruned.safetensors"),
        "sd_xl_base_1.0.safetensors": ("sd_xl_base_1.0_0.9vae.safetensors",),
        "wan2.1_vace_14B_fp16.safetensors": ("wan2.1_vace_1.3B_fp16.safetensors",),
        "RealESRGAN_x4plus.safetensors": ("RealESRGAN_x4plus.pth", "4x-UltraSharp.pth"),
        "Qwen-Image-Lightning-4steps-V1.0.safetensors": ("Qwen-Image-Lightning-4steps-V2.0.safetensors",),
    }
)
"""Files that do the same in another precision or size, best first."""


def named(graph: Graph, types: NodeTypes) -> Iterator[tuple[Node, str, str, str]]:
    """(node, input, models folder, file name) of each model file that a graph names."""
    for node in graph:
        for name, value in (node.inputs or {}).items():
            folder = types.folder(node.class_type or "", name)
            if folder and folder != "input" and type(value) is not Link and isinstance(value, str):
                yield node, name, folder, value


def fitted(graph: Graph, types: NodeTypes) -> Graph:
    """The graph with the server's own names of files: in a subfolder, or of another precision, where it has those."""
    if types.files_known:
        for node, name, _, value in tuple(named(graph, types)):
            graph = graph.with_input(node.id, name, _fitting(value, available(node, name, types)))
    return graph


def available(node: Node, name: str, types: NodeTypes) -> tuple[str, ...]:
    """The files that the server lists for an input."""
    class_type = node.class_type or ""
    declared = types[class_type].input(name) if class_type in types else None
    return tuple(str(choice) for choice in (declared.choices or ())) if declared else ()


def _fitting(wanted: str, files: tuple[str, ...]) -> str:
    """The server's file for a wanted one, else the wanted name as it is."""
    by_base = {file.replace("\\", "/").rsplit("/", 1)[-1].lower(): file for file in reversed(files)}
    if wanted in files:
        return wanted
    for name in (wanted, *ALTERNATIVES.get(wanted, ())):
        if name.lower() in by_base:
            return by_base[name.lower()]
    return wanted
