"""Node types: what a server's nodes are called, take and give, parsed from its GET /object_info.

The facts of the ComfyUI versions in SHIPPED come with the package (`shipped`), so that workflows can be checked
offline. Their lists of model and input files are unknown, not empty: see `NodeTypes.files_known`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from comfyops.errors import NodeFactsError
from comfyops.workflows.api_format import load_json

SHIPPED = ("0.33.0", "0.8.0")
"""ComfyUI versions whose node facts come with the package, newest first."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"
MATCH_TYPE = "COMFY_MATCHTYPE_V3"
DYNAMIC_TYPES = frozenset({DYNAMIC_COMBO, AUTOGROW, DYNAMIC_SLOT})

_PROSE = frozenset(
    {
        "tooltip",
        "description",
        "output_tooltips",
        "price_badge",
        "search_aliases",
        "essentials_category",
        "placeholder",
    }
)


@dataclass(frozen=True, slots=True)
class InputType:
    """One input that a node type declares.

    `kind` is ComfyUI's type word ("INT", "IMAGE", "COMBO", "A,B" for either); `choices` holds the values of a COMBO, or
    is None where it is no list; `spec` is the server's own declaration, `[type, options]`.
    """

    name: str
    kind: str
    required: bool
    spec: tuple[Any, Mapping[str, Any]]
    choices: tuple[Any, ...] | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """The server's options: default, min, max, step, multiline, multiselect, image_upload, template, ..."""
        return self.spec[1]

    @property
    def default(self) -> Any:
        """The default value; a COMBO without one has its first choice, None where there is nothing."""
        if "default" in self.options:
            return self.options["default"]
        return self.choices[0] if self.choices else None

    @property
    def is_widget(self) -> bool:
        """Whether the editor shows a field for it (else it is a socket that wants a link)."""
        kinds = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO)
        return self.kind in kinds and not self.options.get("forceInput")


@dataclass(frozen=True, slots=True)
class OutputType:
    """One output: its type word, name, and whether it is a list."""

    kind: str
    name: str
    is_list: bool


@dataclass(frozen=True, slots=True)
class NodeType:
    """What one class of nodes takes and gives. `inputs` are in the order of the editor, dynamic ones unexpanded.

    `is_dynamic` tells whether the inputs depend on the values given (dynamic combos, autogrow).
    """

    name: str
    display_name: str
    category: str
    module: str
    inputs: tuple[InputType, ...]
    hidden: tuple[str, ...]
    outputs: tuple[OutputType, ...]
    is_output: bool
    has_intermediate_output: bool
    is_input_list: bool
    is_api_node: bool
    deprecated: bool
    experimental: bool
    is_dynamic: bool
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    def input(self, name: str) -> InputType | None:
        """The declared input of this name, None where there is none (also for the parts of dynamic inputs)."""
        return next((item for item in self.inputs if item.name == name), None)


class NodeTypes(Mapping[str, NodeType]):
    """All node types of one server, by class name; each is parsed when it is first asked for.

    `version` is ComfyUI's version ("" = not known). `files_known` tells whether the lists of model and input files are
    that server's; where they are not, a file's name cannot be checked. `folders` maps class and input to the models
    folder its list comes from ("input" for uploads).
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        *,
        version: str = "",
        files_known: bool = True,
        folders: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._facts = facts
        self._parsed: dict[str, NodeType] = {}
        self.prepared: dict[str, Any] = {}  # what `checks` has prepared for a class, kept for the next graph
        self.version = version
        self.files_known = files_known
        self.folders = known_folders() if folders is None else folders

    def __getitem__(self, name: str) -> NodeType:
        try:
            return self._parsed[name]
        except KeyError:
            facts = self._facts[name]
        try:
            parsed = self._parsed[name] = _node_type(name, facts)
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise NodeFactsError(f"The facts of node class {name!r} are not such as a server gives.") from error
        return parsed

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __contains__(self, name: object) -> bool:
        return name in self._facts

    @property
    def is_modern(self) -> bool:
        """Whether the facts are those of a server that behaves like 0.33 (else like 0.8)."""
        first: Mapping[str, Any] = next(iter(self._facts.values()), {})
        return "has_intermediate_output" in first or "search_aliases" in first

    def folder(self, class_type: str, name: str) -> str | None:
        """The models folder that this input's list of files comes from, None where it is no such list."""
        return self.folders.get(class_type, {}).get(name)

    def object_info(self) -> dict[str, Any]:
        """The facts in the shape of GET /object_info."""
        return dict(self._facts)

    def sharing(self, other: NodeTypes) -> NodeTypes:
        """The same types, with the facts of classes that are alike in `other` once in memory.

        The facts of a server take megabytes, and the servers of a fleet differ in little.
        """
        facts = {
            name: other._facts[name] if other._facts.get(name) == own else own for name, own in self._facts.items()
        }
        return NodeTypes(facts, version=self.version, files_known=self.files_known, folders=self.folders)

    def with_version(self, version: str) -> NodeTypes:
        """The same types, said to be of this ComfyUI version."""
        return NodeTypes(self._facts, version=version, files_known=self.files_known, folders=self.folders)


def from_object_info(data: object, where: str = "The file", *, version: str = "") -> NodeTypes:
    """Node types from the parsed answer of GET /object_info, or from a snapshot that `dump_snapshot` made.

    Raises NodeFactsError where it is something else.
    """
    if isinstance(data, dict) and isinstance(data.get("nodes"), dict) and "comfyui_version" in data:
        version, data = str(data["comfyui_version"]), data["nodes"]
    if not isinstance(data, dict) or not data:
        raise NodeFactsError(f"{where} does not hold node facts: it is not an object of node classes.")
    for name, facts in data.items():
        if not isinstance(facts, dict) or not isinstance(facts.get("input"), dict) or "output" not in facts:
            raise NodeFactsError(f"{where} does not hold node facts: {name!r} does not describe a node class.")
    return NodeTypes(data, version=version)


def loads(text: str | bytes, where: str = "The file") -> NodeTypes:
    """Node types from JSON text.

    Raises NotJsonError and NodeFactsError.
    """
    return from_object_info(load_json(text, where), where)


def dump_snapshot(types: NodeTypes) -> str:
    """A server's node facts as JSON text to keep in a file; prose (tooltips, descriptions) is left out."""
    snapshot = {"comfyui_version": types.version, "nodes": without_prose(types.object_info())}
    return json.dumps(snapshot, separators=(",", ":"), ensure_ascii=False) + "\n"


def without_prose(data: Any) -> Any:
    """JSON without tooltips, descriptions and the like."""
    if isinstance(data, dict):
        return {key: without_prose(item) for key, item in data.items() if key not in _PROSE}
    if isinstance(data, list):
        return [without_prose(item) for item in data]
    return data


@cache
def shipped(version: str = SHIPPED[0]) -> NodeTypes:
    """The node types of a ComfyUI version that come with the package, the newest by default.

    Raises NodeFactsError for a version that does not.
    """
    if version not in SHIPPED:
        known = ", ".join(SHIPPED)
        raise NodeFactsError(f"The node facts of ComfyUI {version} do not come with ComfyOps, only those of {known}.")
    data = _data(f"node_types-{version}.json.gz")
    return NodeTypes(data["nodes"], version=version, files_known=False, folders=data["folders"])


def is_core(class_type: str) -> bool:
    """Whether a class is one of ComfyUI's own, in a version whose node facts come with the package."""
    return any(class_type in shipped(version) for version in SHIPPED)


@cache
def known_folders() -> Mapping[str, Mapping[str, str]]:
    """Class -> input -> models folder, for every class of the shipped facts, the newest version first."""
    folders: dict[str, Mapping[str, str]] = {}
    for version in reversed(SHIPPED):
        folders.update(_data(f"node_types-{version}.json.gz")["folders"])
    return folders


@cache
def _data(name: str) -> Any:
    packed = resources.files("comfyops.workflows").joinpath("data", name).read_bytes()
    return json.loads(gzip.decompress(packed))


def _node_type(name: str, raw: Mapping[str, Any]) -> NodeType:
    groups = raw["input"]
    inputs = [
        input_type(key, spec, required)
        for group, required in (("required", True), ("optional", False))
        for key, spec in (groups.get(group) or {}).items()
    ]
    outputs = raw.get("output") or []
    names = raw.get("output_name") or outputs
    lists = raw.get("output_is_list") or [False] * len(outputs)
    return NodeType(
        name=name,
        display_name=str(raw.get("display_name") or name),
        category=str(raw.get("category") or ""),
        module=str(raw.get("python_module") or ""),
        inputs=tuple(inputs),
        hidden=tuple(groups.get("hidden") or ()),
        outputs=tuple(
            OutputType(kind if isinstance(kind, str) else "COMBO", str(label), bool(is_list))
            for kind, label, is_list in zip(outputs, names, lists, strict=False)
        ),
        is_output=raw.get("output_node") is True,
        has_intermediate_output=bool(raw.get("has_intermediate_output")),
        is_input_list=bool(raw.get("is_input_list")),
        is_api_node=bool(raw.get("api_node")),
        deprecated=bool(raw.get("deprecated")),
        experimental=bool(raw.get("experimental")),
        is_dynamic=any(item.kind in DYNAMIC_TYPES for item in inputs),
        raw=raw,
    )


def input_type(name: str, spec: Any, required: bool) -> InputType:
    """One declared input from its `[type, options]`; the type may be a list of choices (the older form of COMBO)."""
    kind = spec[0]
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}
    if isinstance(kind, list):
        return InputType(name, "COMBO", required, (kind, options), tuple(kind))
    if not isinstance(kind, str):
        raise TypeError(f"the type of input {name!r} is no text")
    choices = None
    if kind == "COMBO":
        choices = tuple(options.get("options") or ())
    elif kind == DYNAMIC_COMBO:
        choices = tuple(option["key"] for option in options.get("options") or ())
    return InputType(name, kind, required, (kind, options), choices)
