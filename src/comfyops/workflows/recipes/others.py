"""Sound and things in three dimensions, from official templates."""

from __future__ import annotations

from comfyops.workflows.capabilities import Capability as C
from comfyops.workflows.graph import Graph, GraphBuilder
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import official, parts
from comfyops.workflows.recipes.recipe import Defaults, Recipe, Source, Values
from comfyops.workflows.recipes.shaping import Pin

_SOUND = "audio_stable_audio_example"


def _solid(values: Values, types: NodeTypes) -> Graph:
    """Hunyuan3D 2.1: a picture seen, a volume sampled, its surface saved as GLB."""
    builder = GraphBuilder()
    name = values.model or "hunyuan_3d_v2.1.safetensors"
    loaded = builder.add("ImageOnlyCheckpointLoader", ckpt_name=name)
    image = parts.picture(builder, values.images[0])
    seen = builder.add("CLIPVisionEncode", clip_vision=loaded[1], image=image, crop="center")
    pair = builder.add("Hunyuan3Dv2Conditioning", clip_vision_output=seen[0])
    model = builder.add("ModelSamplingAuraFlow", model=loaded[0], shift=1.0)[0]
    latent = builder.add("EmptyLatentHunyuan3Dv2", resolution=3072, batch_size=1)[0]
    samples = parts.sampled(builder, values, model, (pair[0], pair[1]), latent, sampler="euler", scheduler="normal")
    voxel = builder.add("VAEDecodeHunyuan3D", samples=samples, vae=loaded[2], num_chunks=8000, octree_resolution=256)
    mesh = builder.add("VoxelToMesh", voxel=voxel[0], algorithm="surface net", threshold=0.6)
    builder.add("SaveGLB", mesh=mesh[0], filename_prefix=values.prefix)
    return builder.build()


RECIPES = (
    Recipe(
        name="stable-audio",
        title="Stable Audio Open: sound from text",
        family="stable-audio",
        capabilities=frozenset({C.TEXT_TO_AUDIO}),
        source=Source(_SOUND),
        takes=frozenset({"prompt", "negative", "seed", "steps", "cfg", "seconds"}),
        make=official.made_from(
            _SOUND,
            {
                "prompt": (Pin("CLIPTextEncode", "text", role="positive"),),
                "negative": (Pin("CLIPTextEncode", "text", role="negative"),),
                "seed": (Pin("KSampler", "seed"),),
                "steps": (Pin("KSampler", "steps"),),
                "cfg": (Pin("KSampler", "cfg"),),
                "seconds": (Pin("EmptyLatentAudio", "seconds"),),
            },
        ),
        version="0.33.0",
        vram_gb=8,
        makes="audio",
        defaults=Defaults(steps=(25, 50, 100), cfg=4.98),
        urls=lambda: official.urls(_SOUND),
    ),
    Recipe(
        name="hunyuan3d",
        title="Hunyuan3D 2.1: a thing in three dimensions from a picture",
        family="hunyuan3d",
        capabilities=frozenset({C.IMAGE_TO_3D}),
        source=Source(reason="the values in the official template's subgraph are out of order when it is converted"),
        takes=frozenset({"seed", "steps", "cfg", "model"}),
        make=_solid,
        version="0.8.0",
        vram_gb=12,
        makes="3d",
        defaults=Defaults(steps=(15, 30, 50), cfg=5.0),
        images=(1, 1),
    ),
)
