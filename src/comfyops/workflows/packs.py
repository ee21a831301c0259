"""Which pack of custom nodes brings a class; for the packs that published workflows use most.

Source: the class names of these packs and the repositories they live in. A workflow in UI format may name the pack of
each node itself (`stated`), which counts more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack of custom nodes: its name (or id in the registry of packs) and where it comes from ("" = not known)."""

    name: str
    url: str = ""


def pack_of(class_type: str) -> Pack | None:
    """The pack that is known to bring a class, None where none is."""
    repository = _CLASSES.get(class_type)
    if repository is None:
        repository = next((found for pattern, found in _PATTERNS if pattern.match(class_type)), None)
    return None if repository is None else Pack(repository.partition("/")[2], f"https://github.com/{repository}")


_KNOWN: Mapping[str, str] = {
    "cubiq/ComfyUI_IPAdapter_plus": "IPAdapterAdvanced; IPAdapterUnifiedLoader; IPAdapterUnifiedLoaderFaceID;"
    " IPAdapter; IPAdapterModelLoader; IPAdapterInsightFaceLoader; IPAdapterFaceID; IPAdapterTiled; IPAdapterBatch;"
    " IPAdapterEncoder; IPAdapterEmbeds; IPAdapterCombineEmbeds; IPAdapterStyleComposition; PrepImageForClipVision",
    "Fannovel16/comfyui_controlnet_aux": "AIO_Preprocessor; CannyEdgePreprocessor; DWPreprocessor;"
    " OpenposePreprocessor; DepthAnythingPreprocessor; DepthAnythingV2Preprocessor; MiDaS-DepthMapPreprocessor;"
    " Zoe-DepthMapPreprocessor; LeReS-DepthMapPreprocessor; LineArtPreprocessor; AnimeLineArtPreprocessor;"
    " HEDPreprocessor; PiDiNetPreprocessor; ScribblePreprocessor; M-LSDPreprocessor; TilePreprocessor;"
    " BAE-NormalMapPreprocessor; Metric3D-DepthMapPreprocessor; ControlNetPreprocessorSelector; ColorPreprocessor",
    "kijai/ComfyUI-KJNodes": "ImageResizeKJ; ImageResizeKJv2; SetNode; GetNode; GetImageSizeAndCount;"
    " GetImageRangeFromBatch; ImageConcatMulti; ImageConcanate; ImageBatchMulti; ColorMatch; GrowMaskWithBlur;"
    " INTConstant; FloatConstant; StringConstant; StringConstantMultiline; ConditioningMultiCombine; JoinStrings;"
    " PatchSageAttentionKJ; PathchSageAttentionKJ; ModelPatchTorchSettings; DiffusionModelLoaderKJ;"
    " TorchCompileModelWanVideo; ImagePadKJ; BlockifyMask; DrawMaskOnImage; PointsEditor; VRAM_Debug; WidgetToString;"
    " CreateShapeMask; SplineEditor; SimpleCalculatorKJ; LoadAndResizeImage; ResizeMask; RemapMaskRange; VAELoaderKJ",
    "ltdrdata/ComfyUI-Impact-Pack": "FaceDetailer; FaceDetailerPipe; DetailerForEach; DetailerForEachDebug;"
    " DetailerForEachPipe; SAMLoader; SEGSPaste; SEGSPreview; BboxDetectorSEGS; SegmDetectorSEGS; MaskToSEGS;"
    " SegsToCombinedMask; ToDetailerPipe; ToBasicPipe; FromBasicPipe; BasicPipeToDetailerPipe; EditBasicPipe;"
    " PreviewBridge; IterativeLatentUpscale; PixelKSampleUpscalerProvider; ONNXDetectorProvider",
    "ltdrdata/ComfyUI-Impact-Subpack": "UltralyticsDetectorProvider",
    "city96/ComfyUI-GGUF": "UnetLoaderGGUF; UnetLoaderGGUFAdvanced; CLIPLoaderGGUF; DualCLIPLoaderGGUF;"
    " TripleCLIPLoaderGGUF; QuadrupleCLIPLoaderGGUF",
    "kijai/ComfyUI-WanVideoWrapper": "LoadWanVideoT5TextEncoder; LoadWanVideoClipTextEncoder; WanVideoModelLoader;"
    " WanVideoSampler; WanVideoDecode; WanVideoEncode; WanVideoVAELoader; WanVideoTextEncode; WanVideoBlockSwap",
    "cubiq/ComfyUI_essentials": "SimpleMath+; DebugTensorShape+; ConsoleDebug+",
    "ssitu/ComfyUI_UltimateSDUpscale": "UltimateSDUpscale; UltimateSDUpscaleNoUpscale; UltimateSDUpscaleCustomSample",
    "Kosinkadink/ComfyUI-Advanced-ControlNet": "ControlNetLoaderAdvanced; ScaledSoftControlNetWeights;"
    " LatentKeyframe; TimestepKeyframe",
    "Fannovel16/ComfyUI-Frame-Interpolation": "RIFE VFI; FILM VFI; AMT VFI; GMFSS Fortuna VFI; IFRNet VFI; IFUnet VFI;"
    " M2M VFI; STMFNet VFI; Make Interpolation State List",
    "jags111/efficiency-nodes-comfyui": "Efficient Loader; Eff. Loader SDXL; KSampler (Efficient);"
    " KSampler Adv. (Efficient); KSampler SDXL (Eff.); HighRes-Fix Script; XY Plot; LoRA Stacker",
    "cubiq/ComfyUI_InstantID": "InstantIDModelLoader; InstantIDFaceAnalysis; ApplyInstantID; ApplyInstantIDAdvanced",
    "cubiq/PuLID_ComfyUI": "PulidModelLoader; PulidInsightFaceLoader; PulidEvaClipLoader; ApplyPulid",
    "Gourieff/ComfyUI-ReActor": "ReActorFaceSwap; ReActorFaceBoost; ReActorRestoreFace; ReActorSaveFaceModel",
    "lquesada/ComfyUI-Inpaint-CropAndStitch": "InpaintCrop; InpaintStitch; InpaintCropImproved; InpaintStitchImproved",
    "storyicon/comfyui_segment_anything": "SAMModelLoader (segment anything);"
    " GroundingDinoModelLoader (segment anything); GroundingDinoSAMSegment (segment anything)",
    "Smirnov75/ComfyUI-mxToolkit": "mxSlider; mxSlider2D; mxSeed; mxStop",
    "chrisgoringe/cg-use-everywhere": "Anything Everywhere; Anything Everywhere3; Anything Everywhere?;"
    " Prompts Everywhere; Seed Everywhere",
    "Jonseed/ComfyUI-Detail-Daemon": "DetailDaemonSamplerNode; LyingSigmaSampler; MultiplySigmas",
    "1038lab/ComfyUI-RMBG": "RMBG; BiRefNetRMBG; ClothesSegment; FaceSegment; BodySegment",
    "welltop-cn/ComfyUI-TeaCache": "TeaCache; CompileModel",
    "huchenlei/ComfyUI-layerdiffuse": "LayeredDiffusionApply; LayeredDiffusionDecode; LayeredDiffusionDecodeRGBA",
    "kijai/ComfyUI-IC-Light": "LoadAndApplyICLightUnet; ICLightConditioning",
    "Acly/comfyui-tooling-nodes": "ETN_LoadImageBase64; ETN_LoadMaskBase64; ETN_SendImageWebSocket",
    "BlenderNeko/ComfyUI_ADV_CLIP_emb": "BNK_CLIPTextEncodeAdvanced; BNK_AddCLIPSDXLParams",
    "BlenderNeko/ComfyUI_Noise": "BNK_Unsampler; BNK_NoisyLatentImage; BNK_InjectNoise; BNK_SlerpLatent",
    "XLabs-AI/x-flux-comfyui": "XlabsSampler; LoadFluxControlNet; ApplyFluxControlNet; FluxLoraLoader",
    "twri/sdxl_prompt_styler": "SDXLPromptStyler; SDXLPromptStylerAdvanced",
}
"""Repository -> classes."""

_CLASSES: Mapping[str, str] = {
    name.strip(): repository for repository, names in _KNOWN.items() for name in names.split(";")
}

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), repository)
    for pattern, repository in (
        (r".* \(rgthree\)$", "rgthree/rgthree-comfy"),
        (r"VHS_", "Kosinkadink/ComfyUI-VideoHelperSuite"),
        (r"ADE_", "Kosinkadink/ComfyUI-AnimateDiff-Evolved"),
        (r"ACN_", "Kosinkadink/ComfyUI-Advanced-ControlNet"),
        (r"IPAdapter", "cubiq/ComfyUI_IPAdapter_plus"),
        (r"Impact\w", "ltdrdata/ComfyUI-Impact-Pack"),
        (r"WanVideo", "kijai/ComfyUI-WanVideoWrapper"),
        (r"HyVideo", "kijai/ComfyUI-HunyuanVideoWrapper"),
        (r"CogVideo", "kijai/ComfyUI-CogVideoXWrapper"),
        (r"SUPIR_", "kijai/ComfyUI-SUPIR"),
        (r"(DownloadAndLoad)?Florence2", "kijai/ComfyUI-Florence2"),
        (r"(DownloadAndLoadSAM2|Sam2)", "kijai/ComfyUI-segment-anything-2"),
        (r"(DownloadAndLoad)?DepthAnythingV?2?", "kijai/ComfyUI-DepthAnythingV2"),
        (r"(DownloadAndLoad)?LivePortrait", "kijai/ComfyUI-LivePortraitKJ"),
        (r"MMAudio", "kijai/ComfyUI-MMAudio"),
        (r"Nunchaku", "nunchaku-tech/ComfyUI-nunchaku"),
        (r"SeedVR2", "numz/ComfyUI-SeedVR2_VideoUpscaler"),
        (r"easy ", "yolain/ComfyUI-Easy-Use"),
        (r"(LayerUtility|LayerMask|LayerStyle|LayerColor|LayerFilter): ", "chflame163/ComfyUI_LayerStyle"),
        (r"CR ", "Suzie1/ComfyUI_Comfyroll_CustomNodes"),
        (r"WAS_|.* \(WAS\)$|Text Concatenate$|Text Multiline$|Image Resize$", "WASasquatch/was-node-suite-comfyui"),
        (r".*\|pysssss$", "pythongosssss/ComfyUI-Custom-Scripts"),
        (r".*\[Crystools\]$", "crystian/ComfyUI-Crystools"),
        (r".*(MultiGPU|DisTorch2?)$", "pollockjj/ComfyUI-MultiGPU"),
        (r"INPAINT_", "Acly/comfyui-inpaint-nodes"),
        (r"LTXV", "Lightricks/ComfyUI-LTXVideo"),
        (r"ReActor", "Gourieff/ComfyUI-ReActor"),
        (r".*Preprocessor$", "Fannovel16/comfyui_controlnet_aux"),
        (r".*KJ$", "kijai/ComfyUI-KJNodes"),
        (r"\w+\+$", "cubiq/ComfyUI_essentials"),
    )
)
"""Beginnings and endings that packs give to their classes, looked at in this order."""
