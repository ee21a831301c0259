"""From panels to graphs: everything that is decided before a server is asked to do something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from comfyops.errors import StoryboardError
from comfyops.storyboard import prompts, seeds, sizes
from comfyops.storyboard.families import Draft, Family, Picture, Upload, family_for
from comfyops.storyboard.families.guides import has_ip_adapter
from comfyops.storyboard.project import DRAW, IPAdapter, Placed, Project, Settings
from comfyops.storyboard.sizes import Ratio
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

_LANDSCAPE = Ratio(16, 9)
_MODEL_INPUTS = [
    "ckpt_name",
    "unet_name",
    "clip_name",
    "vae_name",
    "lora_name",
    "control_net_name",
    "ipadapter_file",
    "clip_name1",
    "clip_name2",
]


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """One panel, ready to run. The names in `graph` for uploads are local; the server's take their place.

    `seed_source` is "given", "derived" or "drawn"; `models` are all model files used; `notes` are remarks for people.
    """

    placed: Placed
    family: Family
    picture: Picture
    graph: Graph
    save_node: str
    uploads: tuple[Upload, ...]
    seed_source: str
    models: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def id(self) -> str:
        """The panel's id."""
        return self.placed.panel.id


def plan(project: Project, types: NodeTypes, drawn: Mapping[str, int] | None = None) -> tuple[PanelPlan, ...]:
    """Every panel's plan for a server with these node types; `drawn` holds seeds that an earlier run drew.

    Raises StoryboardError for the first panel that this server cannot render.
    """
    return tuple(plan_panel(project, placed, types, drawn) for placed in project.panels())


def plan_panel(project: Project, placed: Placed, types: NodeTypes, drawn: Mapping[str, int] | None = None) -> PanelPlan:
    """One panel's plan.

    Raises StoryboardError, its sentence naming the panel.
    """
    try:
        return _planned(project, placed, types, drawn or {})
    except StoryboardError as error:
        raise StoryboardError(f"Panel {placed.panel.id}: {error.message}", hint=error.hint, **error.facts) from error


def _planned(project: Project, placed: Placed, types: NodeTypes, drawn: Mapping[str, int]) -> PanelPlan:
    settings = project.settings_of(placed)
    family = family_for(settings, types)
    picture = _picture(project, placed, settings, family, types, drawn)
    draft = Draft(types)
    picture = _with_character(project, placed, picture, family, draft)
    save_node = family.build(draft, picture)
    _images_exist(draft)
    graph = draft.graph()
    return PanelPlan(
        placed=placed,
        family=family,
        picture=picture,
        graph=graph,
        save_node=save_node,
        uploads=tuple(draft.uploads),
        seed_source=_seed_source(placed.panel.seed),
        models=models_of(graph),
        notes=tuple(draft.notes),
    )


def _picture(
    project: Project,
    placed: Placed,
    settings: Settings,
    family: Family,
    types: NodeTypes,
    drawn: Mapping[str, int],
) -> Picture:
    panel = placed.panel
    return Picture(
        positive=prompts.positive(project, placed),
        negative=prompts.negative(project, placed),
        seed=seeds.of_panel(project, panel, drawn),
        size=sizes.fit(settings.size or _LANDSCAPE, family.pixels, family.multiple),
        steps=settings.steps or family.steps,
        cfg=family.cfg if settings.cfg is None else settings.cfg,
        sampler=settings.sampler or family.sampler,
        scheduler=settings.scheduler or family.scheduler,
        models=family.choose(settings, types),
        prefix=f"comfyops/{project.id}/{panel.id}",
        loras=settings.loras or (),
        clip_skip=settings.clip_skip,
        reference=panel.reference,
        controlnets=panel.controlnets,
        ip_adapter=panel.ip_adapter,
    )


def _with_character(project: Project, placed: Placed, picture: Picture, family: Family, draft: Draft) -> Picture:
    """The first character's picture as IP-Adapter, where the panel has none of its own and the server has the nodes."""
    images = [one.image for one in project.characters_of(placed) if one.image]
    if picture.ip_adapter or not images or not draft.types.files_known:
        return picture
    if family.name == "qwen_image" or not has_ip_adapter(draft):
        draft.notes.append(f"{images[0].name} is not used: there is no IP-Adapter for {family.title} on this server.")
        return picture
    return replace(picture, ip_adapter=IPAdapter(images[0]))


def _images_exist(draft: Draft) -> None:
    for upload in draft.uploads:
        if not upload.path.is_file():
            raise StoryboardError(f"the picture {upload.path} is not there.", hint="Check the path in the storyboard.")


def _seed_source(seed: int | None) -> str:
    return "derived" if seed is None else "drawn" if seed == DRAW else "given"


def models_of(graph: Graph) -> tuple[str, ...]:
    """The model files that a graph names, each once."""
    names = (value for node in graph for key, value in (node.inputs or {}).items() if key in _MODEL_INPUTS)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def with_uploads(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with the server's names of uploaded pictures (node id -> name)."""
    for node, name in names.items():
        graph = graph.with_input(node, "image", name)
    return graph
