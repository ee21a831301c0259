"""Qwen-Image: nine nodes of ComfyUI's own, with diffusion model, text encoder and VAE loaded one by one.

The nodes are those of the validated workflow: UNETLoader, CLIPLoader, VAELoader, EmptySD3LatentImage, two
CLIPTextEncode, KSampler, VAEDecode, SaveImage. The text encoder's type is `qwen_image`. The `sd3` of that document
works too, but only because the server looks at the file and takes Qwen's encoder all the same.
"""

from __future__ import annotations

from collections.abc import Callable

from comfyops.errors import StoryboardError
from comfyops.storyboard import model_files
from comfyops.storyboard.families import guides
from comfyops.storyboard.families.checkpoint import finish
from comfyops.storyboard.families.family import Draft, Family, Models, Picture
from comfyops.storyboard.project import Settings
from comfyops.workflows.graph import Link
from comfyops.workflows.node_types import NodeTypes

_MODELS = ("qwen_image_fp8_e4m3fn.safetensors", "qwen_image_2512_fp8_e4m3fn.safetensors", "qwen_image_bf16.safetensors")
_ENCODERS = ("qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_2.5_vl_7b.safetensors")
_VAES = ("qwen_image_vae.safetensors",)


def _claims(name: str) -> bool:
    return "qwen" in name and "image" in name


def _encodes(name: str) -> bool:
    return "qwen" in name and "vl" in name


def _choose(settings: Settings, types: NodeTypes) -> Models:
    return Models(
        main=_file(model_files.DIFFUSION_MODEL, settings.model, types, _claims, _MODELS),
        vae=_file(model_files.VAE, settings.vae, types, _claims, _VAES),
        text_encoder=_file(model_files.TEXT_ENCODER, settings.text_encoder, types, _encodes, _ENCODERS),
    )


def _file(
    kind: model_files.Kind,
    wanted: str | None,
    types: NodeTypes,
    fits: Callable[[str], bool],
    preferred: tuple[str, ...],
) -> str:
    if wanted:
        return model_files.find(kind, wanted, types)
    found = model_files.pick(kind, types, fits, preferred)
    if found is None:
        raise StoryboardError(
            f"The server has no {kind.name} of Qwen-Image.",
            hint=f"Put {preferred[0]} into the server's models/{kind.folder} folder.",
        )
    return found


def _build(draft: Draft, picture: Picture) -> str:
    models = picture.models
    model = draft.add("UNETLoader", unet_name=models.main, weight_dtype="default")[0]
    clip = draft.add("CLIPLoader", clip_name=models.text_encoder, type="qwen_image")[0]
    vae = draft.add("VAELoader", vae_name=models.vae)[0]
    model = _with_loras(draft, picture, model)
    start = guides.latent(draft, picture, vae, "EmptySD3LatentImage")
    positive = draft.add("CLIPTextEncode", "Positive prompt", text=picture.positive, clip=clip)[0]
    negative = draft.add("CLIPTextEncode", "Negative prompt", text=picture.negative, clip=clip)[0]
    conditioning = guides.controlled(draft, picture, positive, negative, vae)
    if picture.ip_adapter:
        raise StoryboardError("Qwen-Image has no IP-Adapter.", hint="Leave ip_adapter out, or use sd15 or sdxl.")
    return finish(draft, picture, model, conditioning, start, vae)


def _with_loras(draft: Draft, picture: Picture, model: Link) -> Link:
    for lora in picture.loras:
        name = model_files.find(model_files.LORA, lora.name, draft.types)
        model = draft.add("LoraLoaderModelOnly", model=model, lora_name=name, strength_model=lora.strength)[0]
    return model


FAMILY = Family(
    name="qwen_image",
    title="Qwen-Image",
    needs=f"diffusion_models/{_MODELS[0]} with text_encoders/{_ENCODERS[0]} and vae/{_VAES[0]}",
    pixels=1328 * 1328,
    multiple=16,
    steps=20,
    cfg=2.5,
    sampler="euler",
    scheduler="simple",
    claims=_claims,
    choose=_choose,
    build=_build,
)
