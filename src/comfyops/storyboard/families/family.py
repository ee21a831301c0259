"""What a model family is, and what it is given to build a picture's graph from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comfyops.storyboard.project import ControlNet, IPAdapter, Lora, Reference, Settings
from comfyops.storyboard.sizes import Size
from comfyops.workflows.graph import Graph, GraphBuilder, Link
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True, slots=True)
class Models:
    """The main model files of a picture, by their names on the server ("" = none of its own)."""

    main: str
    vae: str = ""
    text_encoder: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that makes one picture, with nothing left open. `prefix` begins its file name on the server."""

    positive: str
    negative: str
    seed: int
    size: Size
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    models: Models
    prefix: str
    denoise: float = 1.0
    loras: tuple[Lora, ...] = ()
    clip_skip: int | None = None
    reference: Reference | None = None
    controlnets: tuple[ControlNet, ...] = ()
    ip_adapter: IPAdapter | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A local picture that must be on the server first; its name there goes into the image input of `node`."""

    node: str
    path: Path


class Draft:
    """A graph in the making: the builder, the server's node types, the pictures to upload, remarks."""

    def __init__(self, types: NodeTypes) -> None:
        self.builder = GraphBuilder()
        self.types = types
        self.uploads: list[Upload] = []
        self.notes: list[str] = []
        self.add = self.builder.add

    def load_image(self, path: Path) -> Link:
        """A node that loads a picture, which is uploaded before the run."""
        node = self.add("LoadImage", image=path.name)
        self.uploads.append(Upload(node.id, path))
        return node[0]

    def has(self, *classes: str) -> bool:
        """Whether the server has these nodes; assumed where the server is not known."""
        return not self.types.files_known or all(name in self.types for name in classes)

    def graph(self) -> Graph:
        """The graph so far."""
        return self.builder.build()


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models.

    `claims` tells from a main model's file name (lower case, no folders) whether it is of this family. `choose` names
    the files to use, completing what the settings name, and raises StoryboardError where the server lacks one. `build`
    adds the nodes and returns the id of the one that saves the picture. `needs` says which files would do.
    """

    name: str
    title: str
    needs: str
    pixels: int
    multiple: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    claims: Callable[[str], bool]
    choose: Callable[[Settings, NodeTypes], Models]
    build: Callable[[Draft, Picture], str]
