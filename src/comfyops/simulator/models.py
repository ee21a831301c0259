"""Model files that a simulated server has, and which of them are in its VRAM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

# Files by folder: for Stable Diffusion 1.5, SDXL and Qwen-Image, and what the official templates name.
_FILES = {
    "audio_encoders": """
        whisper_large_v3_fp16.safetensors
    """,
    "background_removal": """
        birefnet.safetensors
    """,
    "checkpoints": """
        ace_step_v1_3.5b.safetensors
        flux1-dev-fp8.safetensors
        flux1-schnell-fp8.safetensors
        hunyuan3d-dit-v2-mv_fp16.safetensors
        hunyuan_3d_v2.1.safetensors
        ltx-2-19b-dev-fp8.safetensors
        ltx-2-19b-dev.safetensors
        ltx-2-19b-distilled.safetensors
        ltx-2.3-22b-dev-fp8.safetensors
        sam3.1_multiplex_fp16.safetensors
        sd3.5_large_fp8_scaled.safetensors
        sd_xl_base_1.0.safetensors
        sd_xl_refiner_1.0.safetensors
        stable-audio-open-1.0.safetensors
        stable_audio_3_medium.safetensors
        svd_xt.safetensors
        v1-5-pruned-emaonly-fp16.safetensors
        v1-5-pruned-emaonly.safetensors
    """,
    "clip_vision": """
        clip_vision_h.safetensors
        sigclip_vision_patch14_384.safetensors
    """,
    "controlnet": """
        control_v11f1p_sd15_depth_fp16.safetensors
        control_v11p_sd15_canny_fp16.safetensors
        control_v11p_sd15_openpose_fp16.safetensors
        controlnet-canny-sdxl-1.0.safetensors
        controlnet-depth-sdxl-1.0.safetensors
        Qwen-Image-InstantX-ControlNet-Union.safetensors
        sd3.5_large_controlnet_canny.safetensors
    """,
    "diffusion_models": """
        acestep_v1.5_turbo.safetensors
        anima-preview3-base.safetensors
        capybara_v0.1.safetensors
        chrono_edit_14B_fp16.safetensors
        flux-2-klein-4b-fp8.safetensors
        flux-2-klein-base-4b-fp8.safetensors
        flux-2-klein-base-4b.safetensors
        flux-2-klein-base-9b-fp8.safetensors
        flux1-canny-dev.safetensors
        flux1-dev-fp8.safetensors
        flux1-dev-kontext_fp8_scaled.safetensors
        flux1-dev.safetensors
        flux1-fill-dev.safetensors
        flux1-schnell.safetensors
        flux2_dev_fp8mixed.safetensors
        hidream_e1_1_bf16.safetensors
        hidream_e1_full_bf16.safetensors
        hidream_i1_fast_fp8.safetensors
        humo_17B_fp8_e4m3fn.safetensors
        hunyuanvideo1.5_1080p_sr_distilled_fp16.safetensors
        hunyuanvideo1.5_720p_i2v_fp16.safetensors
        hunyuanvideo1.5_720p_t2v_fp16.safetensors
        kandinsky5lite_i2v_5s.safetensors
        kandinsky5lite_t2i.safetensors
        lotus-depth-d-v1-1.safetensors
        minimax_h3_fl2va_pruned_int8_convrot.safetensors
        minimax_h3_ref2va_pruned_int8_convrot.safetensors
        NewBie-Image-Exp0.1-bf16.safetensors
        omnigen2_fp16.safetensors
        ovis_image_bf16.safetensors
        qwen_image_2512_fp8_e4m3fn.safetensors
        qwen_image_edit_2509_fp8_e4m3fn.safetensors
        qwen_image_edit_2511_bf16.safetensors
        qwen_image_fp8_e4m3fn.safetensors
        qwen_image_layered_bf16.safetensors
        wan2.1_flf2v_720p_14B_fp16.safetensors
        wan2.1_fun_camera_v1.1_14B_bf16.safetensors
        wan2.1_fun_control_1.3B_bf16.safetensors
        wan2.1_t2v_14B_fp8_scaled.safetensors
        wan2.1_vace_14B_fp16.safetensors
        wan2.2_fun_control_5B_bf16.safetensors
        wan2.2_fun_inpaint_5B_bf16.safetensors
        wan2.2_fun_inpaint_high_noise_14B_fp8_scaled.safetensors
        wan2.2_fun_inpaint_low_noise_14B_fp8_scaled.safetensors
        wan2.2_fun_vace_high_noise_14B_fp8_scaled.safetensors
        wan2.2_fun_vace_low_noise_14B_fp8_scaled.safetensors
        wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors
        wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors
        wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors
        wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors
        wan2.2_ti2v_5B_fp16.safetensors
        Wan2_1-I2V-ATI-14B_fp8_e4m3fn.safetensors
        z_image_bf16.safetensors
        z_image_turbo_bf16.safetensors
    """,
    "latent_upscale_models": """
        hunyuanvideo15_latent_upsampler_1080p.safetensors
        ltx-2-spatial-upscaler-x2-1.0.safetensors
        ltx-2.3-spatial-upscaler-x2-1.1.safetensors
    """,
    "loras": """
        chronoedit_distill_lora.safetensors
        detail_tweaker_sd15.safetensors
        flux1-depth-dev-lora.safetensors
        Flux2TurboComfyv2.safetensors
        Flux_2-Turbo-LoRA_comfyui.safetensors
        ink_style_sdxl.safetensors
        lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors
        ltx-2-19b-distilled-lora-384.safetensors
        ltx-2-19b-lora-camera-control-dolly-left.safetensors
        ltx-2.3-22b-distilled-lora-384.safetensors
        ltx-2.3-id-lora-talkvid-3k.safetensors
        ltx2-squish.safetensors
        minimax_h3_fl2v_turbo_8step_v1.0_comfyui_bf16.safetensors
        minimax_h3_ref2v_turbo_4step_v0.1_comfyui_bf16.safetensors
        qwen-360-diffusion-2512-int8-bf16-v2.safetensors
        Qwen-Edit-2509-Multiple-angles.safetensors
        Qwen-Image-2512-Lightning-4steps-V1.0-fp32.safetensors
        Qwen-Image-Edit-2509-Anything2RealAlpha.safetensors
        Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors
        Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors
        Qwen-Image-Edit-2509-Relight.safetensors
        Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors
        qwen-image-edit-2511-multiple-angles-lora.safetensors
        Qwen-Image-Lightning-4steps-V1.0.safetensors
        qwen_image_union_diffsynth_lora.safetensors
        uso-flux1-dit-lora-v1.safetensors
        wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors
        wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors
        wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors
        wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors
        Wan21_CausVid_14B_T2V_lora_rank32.safetensors
        wan_alpha_2.1_rgba_lora.safetensors
        Wuli-Qwen-Image-2512-Turbo-LoRA-2steps-V1.0-bf16.safetensors
    """,
    "model_patches": """
        uso-flux1-projector-v1.safetensors
    """,
    "text_encoders": """
        byt5_small_glyphxl_fp16.safetensors
        clip_g_hidream.safetensors
        clip_l.safetensors
        clip_l_hidream.safetensors
        gemma_3_12B_it.safetensors
        gemma_3_12B_it_fp4_mixed.safetensors
        gemma_3_4b_it_bf16.safetensors
        jina_clip_v2_bf16.safetensors
        llama_3.1_8b_instruct_fp8_scaled.safetensors
        mistral_3_small_flux2_bf16.safetensors
        mistral_3_small_flux2_fp8.safetensors
        ovis_2.5.safetensors
        qwen3.5_2b_bf16.safetensors
        qwen3.5_4b_bf16.safetensors
        qwen3vl_32b_minimax_h3_nvfp4_awq.safetensors
        qwen_0.6b_ace15.safetensors
        qwen_2.5_vl_7b.safetensors
        qwen_2.5_vl_7b_fp8_scaled.safetensors
        qwen_2.5_vl_fp16.safetensors
        qwen_3_06b_base.safetensors
        qwen_3_4b.safetensors
        qwen_3_8b_fp8mixed.safetensors
        qwen_4b_ace15.safetensors
        t5-base.safetensors
        t5gemma_b_b_ul2.safetensors
        t5xxl_fp16.safetensors
        t5xxl_fp8_e4m3fn_scaled.safetensors
        umt5_xxl_fp16.safetensors
        umt5_xxl_fp8_e4m3fn_scaled.safetensors
    """,
    "upscale_models": """
        4x-UltraSharp.pth
        RealESRGAN_x4plus.safetensors
    """,
    "vae": """
        ace_1.5_vae.safetensors
        ae.safetensors
        flux2-vae.safetensors
        full_encoder_small_decoder.safetensors
        hunyuan_video_vae_bf16.safetensors
        hunyuanvideo15_vae_fp16.safetensors
        minimax_h3_audio_vae_fp32.safetensors
        minimax_h3_video_vae_fp16.safetensors
        minimax_h3_video_vae_int8_convrot.safetensors
        qwen_image_layered_vae.safetensors
        qwen_image_vae.safetensors
        sdxl_vae.safetensors
        vae-ft-mse-840000-ema-pruned.safetensors
        wan2.2_vae.safetensors
        wan_2.1_vae.safetensors
        wan_alpha_2.1_vae_alpha_channel.safetensors
        wan_alpha_2.1_vae_rgb_channel.safetensors
    """,
}


@dataclass(frozen=True)
class Inventory:
    """The model files of a server: names by folder, sorted."""

    folders: Mapping[str, tuple[str, ...]]


def default_inventory() -> Inventory:
    """The model files of a simulated server that is told of none."""
    return Inventory({folder: tuple(names.split()) for folder, names in _FILES.items()})


class Residency:
    """Which model files are in the simulated VRAM; the least recently used leave when room is needed.

    Pure bookkeeping: it takes no time and reads no file. Sizes are bytes.
    """

    def __init__(self, vram_bytes: int, model_bytes: Mapping[str, int], default_bytes: int) -> None:
        self._vram = vram_bytes
        self._sizes = model_bytes
        self._default = default_bytes
        self._resident: OrderedDict[str, int] = OrderedDict()

    @property
    def resident(self) -> tuple[str, ...]:
        """Resident files, the least recently used first."""
        return tuple(self._resident)

    @property
    def used_bytes(self) -> int:
        """What all resident files take."""
        return sum(self._resident.values())

    def size(self, name: str) -> int:
        """The bytes that a file takes."""
        return self._sizes.get(name, self._default)

    def load(self, name: str) -> bool:
        """Use a file now; True where it had to be loaded for that. A file larger than all VRAM takes all of it."""
        if name in self._resident:
            self._resident.move_to_end(name)
            return False
        size = min(self.size(name), self._vram)
        while self._resident and self.used_bytes + size > self._vram:
            self._resident.popitem(last=False)
        self._resident[name] = size
        return True

    def clear(self) -> None:
        """Unload everything, as POST /free with unload_models does."""
        self._resident.clear()
