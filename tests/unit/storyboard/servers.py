"""Node types of servers that have this or that model file and custom node."""

from __future__ import annotations

import copy
from typing import Any

from comfyops.workflows.node_types import NodeTypes, from_object_info, shipped

PLACES = {
    "checkpoints": (("CheckpointLoaderSimple", "ckpt_name"),),
    "diffusion_models": (("UNETLoader", "unet_name"),),
    "text_encoders": (("CLIPLoader", "clip_name"),),
    "vae": (("VAELoader", "vae_name"),),
    "loras": (("LoraLoader", "lora_name"), ("LoraLoaderModelOnly", "lora_name")),
    "controlnet": (("ControlNetLoader", "control_net_name"),),
    "clip_vision": (("CLIPVisionLoader", "clip_name"),),
}
QWEN = {
    "diffusion_models": ["qwen_image_edit_2509_fp8_e4m3fn.safetensors", "qwen_image_fp8_e4m3fn.safetensors"],
    "text_encoders": ["qwen_2.5_vl_7b_fp8_scaled.safetensors", "t5xxl_fp16.safetensors"],
    "vae": ["ae.safetensors", "qwen_image_vae.safetensors"],
}


def server(version: str = "0.33.0", extra: dict[str, Any] | None = None, **files: list[str]) -> NodeTypes:
    """A server with these model files by folder, and no others; `extra` are classes of custom nodes."""
    facts = copy.deepcopy(shipped(version).object_info())
    for folder, places in PLACES.items():
        for class_type, name in places:
            spec = facts[class_type]["input"]["required"][name]
            if isinstance(spec[0], list):
                spec[0] = list(files.get(folder, []))
            else:
                spec[1]["options"] = list(files.get(folder, []))
    return from_object_info({**facts, **(extra or {})}, version=version)


def custom(inputs: dict[str, Any], outputs: list[str], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The facts of one custom node."""
    return {
        "input": {"required": inputs, "optional": optional or {}},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": outputs,
        "name": "custom",
        "display_name": "custom",
        "category": "custom",
        "python_module": "custom_nodes.custom",
        "output_node": False,
    }


OPENPOSE = {
    "OpenposePreprocessor": custom(
        {"image": ["IMAGE"], "detect_hand": [["enable", "disable"]], "resolution": ["INT", {"default": 512}]},
        ["IMAGE"],
    )
}
_WEIGHTS = ["FLOAT", {"default": 1.0, "min": -1, "max": 5}]
_PART = ["FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0}]
IP_ADAPTER = {
    "IPAdapterUnifiedLoader": custom(
        {"model": ["MODEL"], "preset": [["STANDARD (medium strength)", "PLUS (high strength)"]]},
        ["MODEL", "IPADAPTER"],
        {"ipadapter": ["IPADAPTER"]},
    ),
    "IPAdapterModelLoader": custom({"ipadapter_file": [["ip-adapter_sdxl_vit-h.safetensors"]]}, ["IPADAPTER"]),
    "IPAdapterAdvanced": custom(
        {
            "model": ["MODEL"],
            "ipadapter": ["IPADAPTER"],
            "image": ["IMAGE"],
            "weight": _WEIGHTS,
            "weight_type": [["linear", "ease in"]],
            "combine_embeds": [["concat", "add"]],
            "start_at": _PART,
            "end_at": _PART,
            "embeds_scaling": [["V only", "K+V"]],
        },
        ["MODEL"],
        {"clip_vision": ["CLIP_VISION"]},
    ),
}
