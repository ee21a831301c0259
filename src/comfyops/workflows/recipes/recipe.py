"""What a recipe is: one workflow that serves capabilities, with named values to set and files it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

from comfyops.errors import MissingExtraError, UsageError
from comfyops.workflows import node_types
from comfyops.workflows.capabilities import Capability
from comfyops.workflows.graph import Graph
from comfyops.workflows.lengths import LengthRule, SizeRule
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.recipes import files


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA file by its name on the server, and how strongly it works."""

    name: str
    strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a recipe's graph is built from; None = the recipe's own value. Files are named as on the server.

    `masks` is a video whose frames are masks (white = change), one for each frame of `video`. `model` takes the place
    of the main model file, `control` of the ControlNet file. `guide` says how its guide is made from the picture:
    "canny", or "none" for a picture that is one already. `layers` is the number of layers to take apart into.
    """

    prompt: str = ""
    negative: str | None = None
    seed: int = 0
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    steps: int | None = None
    cfg: float | None = None
    strength: float | None = None
    images: tuple[str, ...] = ()
    mask: str = ""
    masks: str = ""
    video: str = ""
    loras: tuple[Lora, ...] = ()
    model: str = ""
    control: str = ""
    guide: str = ""
    layers: int | None = None
    seconds: float | None = None
    prefix: str = "comfyops"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a recipe takes: its name in `Values`, kind in words, whether it must be given, its default."""

    name: str
    kind: str
    required: bool = False
    default: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """A recipe's own values. `steps` are for the qualities fast, balanced and quality.

    `enlarge` is how much larger than a given video the result is, where no size is asked for.
    """

    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    steps: tuple[int, int, int] | None = None
    cfg: float | None = None
    strength: float | None = None
    enlarge: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where a recipe's graph comes from: an official template, or our own hand and why."""

    template: str = ""
    reason: str = ""

    @property
    def title(self) -> str:
        """In words."""
        return f"official template {self.template}" if self.template else f"hand-written: {self.reason}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that a graph names: the models folder, its name, where it can be had ("" = not known)."""

    folder: str
    name: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is lacking for a recipe, and what brings it. `kind` is "node", "model" or "extra"."""

    kind: str
    name: str
    brings: str
    folder: str = ""
    url: str = ""

    @property
    def sentence(self) -> str:
        """In words."""
        return f"the {self.kind} {self.name} is missing ({self.brings})"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a recipe's graph needs of a server: node classes and model files."""

    classes: tuple[str, ...]
    files: tuple[ModelFile, ...]


Make = Callable[[Values, NodeTypes], Graph]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One workflow that serves capabilities.

    `make` builds its graph from complete values (see `build`). `takes` names what can be set in `Values`, `images` how
    many pictures it takes, at least and at most, `needs` what else must be given. `version` is the oldest ComfyUI that
    has its nodes. `vram_gb` is the VRAM in GB that its models are expected to want; with less, ComfyUI is slower.
    `fast` marks the distilled ones of few steps. `makes` is what comes out: "image", "video", "audio" or "3d".
    """

    name: str
    title: str
    family: str
    capabilities: frozenset[Capability]
    source: Source
    takes: frozenset[str]
    make: Make = field(repr=False, compare=False)
    version: str
    vram_gb: int
    makes: str = "image"
    size: SizeRule | None = None
    length: LengthRule | None = None
    defaults: Defaults = Defaults()
    images: tuple[int, int] = (0, 0)
    needs: frozenset[str] = frozenset()
    fast: bool = False
    urls: Callable[[], Mapping[str, str]] = field(default=dict, repr=False, compare=False)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it takes, in the order of `Values`."""
        steps = self.defaults.steps[1] if self.defaults.steps else None
        given = {name: getattr(self.defaults, name) for name in ("width", "height", "frames", "fps", "cfg", "strength")}
        given["steps"] = steps
        found = [Parameter(name, kind, name in self.needs, given.get(name)) for name, kind in KINDS.items()]
        return tuple(
            Parameter("images", f"{self.images[0]} to {self.images[1]} pictures", self.images[0] > 0)
            if item.name == "images"
            else item
            for item in found
            if item.name in self.takes or (item.name == "images" and self.images[1])
        )

    def complete(self, values: Values) -> Values:
        """The values with our own where none is given, and with sizes and lengths that the model makes.

        Raises UsageError for a value that the recipe does not take, and where one is lacking.
        """
        self._check(values)
        own = self.defaults
        names = ("width", "height", "frames", "fps", "cfg", "strength")
        given = {name: getattr(own, name) for name in names if getattr(values, name) is None}
        if values.steps is None and own.steps:
            given["steps"] = own.steps[1]
        values = replace(values, **given)
        if self.size and values.width and values.height:
            width, height = self.size.request(values.width, values.height)
            values = replace(values, width=width, height=height)
        if self.length and values.frames:
            values = replace(values, frames=self.length.request(values.frames))
        return values

    def build(self, values: Values, types: NodeTypes) -> Graph:
        """The graph for a server with these node types, naming files as that server does.

        Raises UsageError as `complete` does, MissingExtraError where the official template is not installed.
        """
        return files.fitted(self.make(self.complete(values), types), types)

    def required(self) -> Requirements:
        """What it needs of a server with the newest node facts that come with ComfyOps.

        Raises MissingExtraError.
        """
        types = node_types.shipped()
        graph = self.build(self.example(), types)
        urls = {**files.URLS, **self.urls()}
        found = {(folder, name): urls.get(name, "") for _, _, folder, name in files.named(graph, types)}
        models = tuple(ModelFile(folder, name, url) for (folder, name), url in sorted(found.items()))
        return Requirements(tuple(sorted({node.class_type or "" for node in graph})), models)

    def missing(self, types: NodeTypes, values: Values | None = None) -> tuple[Missing, ...]:
        """What a server lacks for these values (an example where there are none), and what brings it.

        Files are looked for only where the server's are known.
        """
        values = values or self.example()
        try:
            newest = self.build(values, node_types.shipped())
        except MissingExtraError as error:
            return (Missing("extra", "templates", error.hint),)
        classes = {node.class_type or "" for node in newest} - set(types)
        if classes:
            return tuple(Missing("node", name, self._brings(name)) for name in sorted(classes))
        return tuple(self._missing_files(self.build(values, types), types)) if types.files_known else ()

    def example(self) -> Values:
        """The least that it can be built from."""
        return Values(
            prompt="a lighthouse" if "prompt" in self.takes else "",
            images=tuple(f"picture-{number}.png" for number in range(1, self.images[0] + 1)),
            mask="mask.png" if "mask" in self.needs else "",
            masks="masks.mp4" if "masks" in self.needs else "",
            video="video.mp4" if "video" in self.needs else "",
        )

    def _missing_files(self, graph: Graph, types: NodeTypes) -> Iterator[Missing]:
        urls = {**files.URLS, **self.urls()}
        for node, name, folder, value in files.named(graph, types):
            if value not in files.available(node, name, types):
                url = urls.get(value, "")
                brings = f"put it into models/{folder}" + (f", from {url}" if url else "")
                yield Missing("model", value, brings, folder, url)

    def _brings(self, name: str) -> str:
        if name in node_types.shipped("0.8.0"):
            return "ComfyUI 0.8.0 or newer has it"
        if name in node_types.shipped():
            return f"ComfyUI {self.version} or newer has it"
        return "a custom node brings it"

    def _check(self, values: Values) -> None:
        least, most = self.images
        for item in fields(values):
            given = getattr(values, item.name) not in (None, "", ())
            if item.name in self.needs and not given:
                raise UsageError(f"{self.title} needs {KINDS[item.name]} as {item.name!r}.", hint="Give one.")
            if given and item.name not in self.takes and item.name not in ("images", "prefix", "seed"):
                raise UsageError(
                    f"{self.title} takes no {item.name!r}.", hint="Leave it out, or choose another recipe."
                )
        if not least <= len(values.images) <= most:
            words = f"{least}" if least == most else f"{least} to {most}"
            raise UsageError(f"{self.title} takes {words} pictures, not {len(values.images)}.", hint="Give as many.")


KINDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "text",
        "negative": "text",
        "seed": "whole number",
        "width": "pixels",
        "height": "pixels",
        "frames": "whole number",
        "fps": "frames per second",
        "steps": "whole number",
        "cfg": "number",
        "strength": "number from 0 to 1",
        "images": "pictures",
        "mask": "picture, white = change",
        "masks": "one picture for each frame, white = change",
        "video": "video",
        "loras": "LoRA files with strengths",
        "model": "file name",
        "control": "file name",
        "guide": "canny or none",
        "layers": "whole number",
        "seconds": "seconds",
    }
)
"""Kind of each value, in words."""
