"""Pictures that guide a picture: a start for image to image, ControlNet, IP-Adapter."""

from __future__ import annotations

from typing import Any

from comfyops.errors import StoryboardError
from comfyops.storyboard import model_files
from comfyops.storyboard.families.family import Draft, Picture
from comfyops.storyboard.project import AUTO, ControlNet, IPAdapter
from comfyops.workflows.graph import Link, Value
from comfyops.workflows.node_types import NodeType

PREPROCESSORS: dict[str, tuple[str, ...]] = {
    "openpose": ("DWPreprocessor", "OpenposePreprocessor"),
    "pose": ("DWPreprocessor", "OpenposePreprocessor"),
    "depth": ("DepthAnythingV2Preprocessor", "DepthAnythingPreprocessor", "MiDaS-DepthMapPreprocessor"),
    "canny": ("Canny", "CannyEdgePreprocessor"),
    "lineart": ("LineArtPreprocessor",),
    "softedge": ("HEDPreprocessor",),
    "normal": ("BAE-NormalMapPreprocessor", "MiDaS-NormalMapPreprocessor"),
}
"""Kind of guide -> node classes that make one from an ordinary picture, best first. Only Canny comes with ComfyUI."""


def latent(draft: Draft, picture: Picture, vae: Link, empty: str) -> Link:
    """Where sampling starts: an empty latent of class `empty`, or the reference picture at the panel's size."""
    width, height = picture.size
    if picture.reference is None:
        return draft.add(empty, width=width, height=height, batch_size=1)[0]
    image = draft.load_image(picture.reference.image)
    scaled = draft.add("ImageScale", image=image, upscale_method="lanczos", width=width, height=height, crop="center")
    return draft.add("VAEEncode", pixels=scaled[0], vae=vae)[0]


def controlled(
    draft: Draft, picture: Picture, positive: Link, negative: Link, vae: Link | None = None
) -> tuple[Link, Link]:
    """Both conditionings, guided by the panel's ControlNets in order.

    Raises StoryboardError for a ControlNet that the server does not have.
    """
    for control in picture.controlnets:
        name = model_files.find(model_files.CONTROLNET, control.model, draft.types)
        loader = draft.add("ControlNetLoader", control_net_name=name)
        inputs: dict[str, Value] = {
            "positive": positive,
            "negative": negative,
            "control_net": loader[0],
            "image": _guide(draft, picture, control),
            "strength": control.strength,
            "start_percent": control.start,
            "end_percent": control.end,
        }
        applied = draft.add("ControlNetApplyAdvanced", **inputs, **({} if vae is None else {"vae": vae}))
        positive, negative = applied[0], applied[1]
    return positive, negative


def _guide(draft: Draft, picture: Picture, control: ControlNet) -> Link:
    image = draft.load_image(control.image)
    classes = preprocessor_classes(control)
    for name in classes:
        if name in draft.types:
            node = draft.types[name]
            return draft.add(name, **{**_defaults(node, picture), _image_input(node): image})[0]
    if classes:
        draft.notes.append(
            f"The server has no {classes[0]} node, so {control.image.name} guides {control.model} as it is."
        )
    return image


def preprocessor_classes(control: ControlNet) -> tuple[str, ...]:
    """Node classes that would make this ControlNet's guide; none where the picture is one already."""
    wanted = control.preprocessor
    if wanted == AUTO:
        return next((classes for kind, classes in PREPROCESSORS.items() if kind in control.model.lower()), ())
    return () if wanted == "none" else PREPROCESSORS.get(wanted, (wanted,))


def _defaults(node: NodeType, picture: Picture) -> dict[str, Any]:
    """Values for what the node requires; those that think in one resolution get the picture's shorter side."""
    values = {item.name: item.default for item in node.inputs if item.required and item.is_widget}
    if node.input("resolution"):
        values["resolution"] = min(picture.size)
    return values


def _image_input(node: NodeType) -> str:
    return next((item.name for item in node.inputs if item.kind == "IMAGE"), "image")


def adapted(draft: Draft, picture: Picture, model: Link) -> Link:
    """The model, with the panel's IP-Adapter applied.

    Raises StoryboardError where the server lacks its nodes or files.
    """
    adapter = picture.ip_adapter
    if adapter is None:
        return model
    if not has_ip_adapter(draft):
        raise StoryboardError(
            "The server has no IP-Adapter nodes, which the panel's ip_adapter needs.",
            hint="Install the custom node ComfyUI_IPAdapter_plus on the server, or leave ip_adapter out.",
        )
    model, loaded = _ip_adapter_model(draft, adapter, model)
    return draft.add(
        "IPAdapterAdvanced",
        model=model,
        **loaded,
        image=draft.load_image(adapter.image),
        weight=adapter.weight,
        weight_type="linear",
        combine_embeds="concat",
        start_at=adapter.start,
        end_at=adapter.end,
        embeds_scaling="V only",
    )[0]


def has_ip_adapter(draft: Draft) -> bool:
    """Whether the server has the nodes of ComfyUI_IPAdapter_plus (assumed where the server is not known)."""
    return draft.has("IPAdapterAdvanced", "IPAdapterUnifiedLoader", "IPAdapterModelLoader")


def _ip_adapter_model(draft: Draft, adapter: IPAdapter, model: Link) -> tuple[Link, dict[str, Value]]:
    if not adapter.model:
        unified = draft.add("IPAdapterUnifiedLoader", model=model, preset=adapter.preset)
        return unified[0], {"ipadapter": unified[1]}
    file = model_files.find(model_files.IP_ADAPTER, adapter.model, draft.types)
    loaded = draft.add("IPAdapterModelLoader", ipadapter_file=file)
    vision = draft.add("CLIPVisionLoader", clip_name=_clip_vision(draft, adapter))
    return model, {"ipadapter": loaded[0], "clip_vision": vision[0]}


def _clip_vision(draft: Draft, adapter: IPAdapter) -> str:
    if adapter.clip_vision:
        return model_files.find(model_files.CLIP_VISION, adapter.clip_vision, draft.types)
    preferred = ("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",)
    name = model_files.pick(model_files.CLIP_VISION, draft.types, lambda name: "vit" in name, preferred)
    if name is None:
        raise StoryboardError(
            f"The server has no CLIP vision model for the IP-Adapter {adapter.model}.",
            hint="Put CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors into the server's models/clip_vision folder.",
        )
    return name
