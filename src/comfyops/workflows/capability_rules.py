"""What a workflow can do, told from the tags of a template and from the structure of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from comfyops.workflows.capabilities import Capability
from comfyops.workflows.graph import Graph
from comfyops.workflows.inputs import InputKind, WorkflowInput

_TAGS = {
    "text to image": Capability.TEXT_TO_IMAGE,
    "image to image": Capability.IMAGE_TO_IMAGE,
    "image edit": Capability.IMAGE_EDITING,
    "style transfer": Capability.IMAGE_EDITING,
    "remove background": Capability.IMAGE_EDITING,
    "virtual try-on": Capability.IMAGE_EDITING,
    "inpainting": Capability.INPAINTING,
    "outpainting": Capability.INPAINTING,
    "controlnet": Capability.CONTROLNET,
    "image upscale": Capability.SUPER_RESOLUTION,
    "video upscale": Capability.SUPER_RESOLUTION,
    "relight": Capability.IMAGE_RELIGHTING,
    "layer decompose": Capability.LAYERED_GENERATION,
    "anime": Capability.ANIME_GENERATION,
    "text to video": Capability.TEXT_TO_VIDEO,
    "image to video": Capability.IMAGE_TO_VIDEO,
    "flf2v": Capability.IMAGE_TO_VIDEO,
    "reference to video": Capability.IMAGE_TO_VIDEO,
    "text to audio": Capability.TEXT_TO_AUDIO,
    "text to music": Capability.TEXT_TO_AUDIO,
    "text to speech": Capability.TEXT_TO_AUDIO,
    "tts": Capability.TEXT_TO_AUDIO,
    "image to 3d": Capability.IMAGE_TO_3D,
}
_SAVES_VIDEO = ("SaveVideo", "SaveWEBM", "SaveAnimatedWEBP", "SaveAnimatedPNG")
_SAVES_IMAGE = ("SaveImage", "SaveImageAdvanced", "SaveImageWebsocket", "PreviewImage")
_SAVES_3D = ("SaveGLB", "Preview3D", "Preview3DAdvanced")
_EDITS = ("TextEncodeQwenImageEdit", "ReferenceLatent", "InstructPixToPix", "OmniGen", "FluxKontext")
_INPAINTS = ("InpaintModelConditioning", "VAEEncodeForInpaint", "SetLatentNoiseMask", "QwenImageDiffsynthControlnet")


def of_tags(tags: Iterable[str]) -> tuple[Capability, ...]:
    """The capabilities that a template's English tags name, in the order of `Capability`."""
    folded = [tag.casefold() for tag in tags]
    found = {_TAGS[tag] for tag in folded if tag in _TAGS}
    if Capability.INPAINTING in found and any("video" in tag for tag in folded):
        found.add(Capability.VIDEO_INPAINTING)
    return _ordered(found)


def of_graph(graph: Graph, inputs: tuple[WorkflowInput, ...]) -> tuple[Capability, ...]:
    """The capabilities that the structure of a graph shows: what it saves, what it is given, which nodes it has."""
    kinds = {item.kind for item in inputs}
    prompted = any(item.role == "prompt" for item in inputs)
    found = set(_of_outputs(graph, kinds, prompted)) | set(_of_nodes(graph, kinds))
    if not found and _edits_a_picture(graph, kinds, prompted):
        found.add(Capability.IMAGE_EDITING)
    if {Capability.INPAINTING, Capability.IMAGE_EDITING} & found:
        found.discard(Capability.IMAGE_TO_IMAGE)
    return _ordered(found)


def merged(*several: Iterable[Capability]) -> tuple[Capability, ...]:
    """All of these, each once, in the order of `Capability`."""
    return _ordered(item for group in several for item in group)


def _of_outputs(graph: Graph, kinds: set[InputKind], prompted: bool) -> Iterator[Capability]:
    classes = {node.class_type or "" for node in graph}
    if classes.intersection(_SAVES_VIDEO):
        yield from _of_video(kinds, prompted)
        if "JoinImageWithAlpha" in classes:
            yield Capability.ALPHA_VIDEO
        if InputKind.VIDEO in kinds and any("Inpaint" in name for name in classes):
            yield Capability.VIDEO_INPAINTING
    elif classes.intersection(_SAVES_3D) and InputKind.IMAGE in kinds:
        yield Capability.IMAGE_TO_3D
    elif any(name.startswith("SaveAudio") for name in classes):
        if prompted and InputKind.AUDIO not in kinds:
            yield Capability.TEXT_TO_AUDIO
    elif classes.intersection(_SAVES_IMAGE) and prompted and InputKind.IMAGE not in kinds:
        yield Capability.TEXT_TO_IMAGE


def _edits_a_picture(graph: Graph, kinds: set[InputKind], prompted: bool) -> bool:
    """Whether a picture and a text make a picture."""
    saves = {node.class_type or "" for node in graph}.intersection(_SAVES_IMAGE)
    return bool(saves) and prompted and kinds & {InputKind.IMAGE, InputKind.VIDEO, InputKind.AUDIO} == {InputKind.IMAGE}


def _of_video(kinds: set[InputKind], prompted: bool) -> Iterator[Capability]:
    if InputKind.VIDEO in kinds:
        if InputKind.MASK in kinds:
            yield Capability.VIDEO_INPAINTING
    elif InputKind.IMAGE in kinds:
        yield Capability.IMAGE_TO_VIDEO
    elif prompted:
        yield Capability.TEXT_TO_VIDEO


def _of_nodes(graph: Graph, kinds: set[InputKind]) -> Iterator[Capability]:
    for node in graph:
        name = node.class_type or ""
        if name.startswith(("ControlNetApply", "SetUnionControlNet")):
            yield Capability.CONTROLNET
        elif name in ("ImageUpscaleWithModel", "LatentUpscaleModelLoader") and InputKind.IMAGE in kinds:
            yield Capability.SUPER_RESOLUTION
        elif name.startswith("EmptyQwenImageLayered"):
            yield Capability.LAYERED_GENERATION
        elif name in _INPAINTS and kinds & {InputKind.MASK, InputKind.IMAGE}:
            yield Capability.INPAINTING
        elif name.startswith(_EDITS) and InputKind.IMAGE in kinds:
            yield Capability.IMAGE_EDITING
        elif name in ("KSampler", "BasicScheduler") and _starts_from_picture(node.inputs or {}, kinds):
            yield Capability.IMAGE_TO_IMAGE


def _starts_from_picture(given: Mapping[str, object], kinds: set[InputKind]) -> bool:
    denoise = given.get("denoise")
    return InputKind.IMAGE in kinds and isinstance(denoise, int | float) and 0 < denoise < 1


def _ordered(found: Iterable[Capability]) -> tuple[Capability, ...]:
    wanted = set(found)
    if Capability.VIDEO_INPAINTING in wanted:
        wanted.discard(Capability.INPAINTING)
    return tuple(item for item in Capability if item in wanted)
