"""StoryCore's `ComfyUIWorkflow`: nodes, metadata, and the form that a server takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from comfyops.storyboard.families import Upload
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import shipped
from comfyops.workflows.problems import Severity
from comfyops.workflows.validate import validate

_WEIGHTS = {
    "KSampler": 2.0,
    "ControlNetApplyAdvanced": 1.5,
    "IPAdapterAdvanced": 1.5,
    "LoraLoader": 1.2,
    "LoraLoaderModelOnly": 1.2,
}
"""How much a node counts in a workflow's complexity, 1 where it is not named."""

_GUIDES = ("ControlNetApplyAdvanced", "IPAdapterAdvanced")


@dataclass
class WorkflowNode:
    """One node; a linked input is `[node id, output number]`."""

    class_type: str
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass
class WorkflowMetadata:
    """What is known of a workflow. `seed` is the one that is really used, also where the panel asked for a random one.

    `notes` tells what was left out because the server lacks a node for it.
    """

    workflow_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    source_type: str = "storycore_panel"
    complexity_score: float = 0.0
    estimated_time_seconds: float = 0.0
    tags: list[str] = field(default_factory=list)
    seed: int = 0
    family: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class ValidationResult:
    """Whether a server takes a workflow, and what is wrong with it, in sentences."""

    is_valid: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complexity_score: float = 0.0
    estimated_time_seconds: float = 0.0

    @property
    def has_errors(self) -> bool:
        """Whether there is an error."""
        return bool(self.errors)

    @property
    def has_warnings(self) -> bool:
        """Whether there is a warning."""
        return bool(self.warnings)


@dataclass
class ComfyUIWorkflow:
    """A workflow by node id. `uploads` are the pictures that must be on the server before it runs."""

    nodes: dict[str, WorkflowNode] = field(default_factory=dict)
    metadata: WorkflowMetadata = field(default_factory=WorkflowMetadata)
    uploads: tuple[Upload, ...] = ()

    @classmethod
    def of_graph(cls, graph: Graph, metadata: WorkflowMetadata, uploads: Iterable[Upload]) -> ComfyUIWorkflow:
        """The workflow of a graph; its complexity and time go into the metadata."""
        nodes = {
            node_id: WorkflowNode(data["class_type"], data["inputs"])
            for node_id, data in api_format.dump(graph).items()
        }
        metadata.complexity_score = complexity(graph)
        metadata.estimated_time_seconds = estimated_seconds(graph)
        return cls(nodes, metadata, tuple(uploads))

    @property
    def graph(self) -> Graph:
        """The workflow as a graph."""
        return api_format.parse(self.to_comfyui_format())

    def add_node(self, class_type: str, inputs: dict[str, Any], node_id: str | None = None) -> str:
        """Add a node and return its id, the next free number where none is given."""
        if node_id is None:
            numbers = [int(key) for key in self.nodes if key.isdecimal()]
            node_id = str(max(numbers, default=0) + 1)
        self.nodes[node_id] = WorkflowNode(class_type, inputs)
        return node_id

    def validate(self) -> list[str]:
        """What is wrong with it on the newest ComfyUI that is known offline; empty where nothing is."""
        problems = validate(self.graph, shipped())
        return [problem.message for problem in problems if problem.severity is not Severity.WARNING]

    def to_comfyui_format(self) -> dict[str, Any]:
        """The JSON that POST /prompt takes as `prompt`."""
        return {
            node_id: {"class_type": node.class_type, "inputs": dict(node.inputs)}
            for node_id, node in self.nodes.items()
        }


def complexity(graph: Graph) -> float:
    """The sum of the nodes' weights; 8 for a plain panel."""
    return sum(_WEIGHTS.get(node.class_type or "", 1.0) for node in graph)


def estimated_seconds(graph: Graph) -> float:
    """StoryCore's estimate: 36 s for a plain panel of 20 steps. It knows nothing of the machine."""
    steps = sum(_number((node.inputs or {}).get("steps")) for node in graph.of_class("KSampler"))
    guides = len(graph.of_class(*_GUIDES))
    return (10 + 0.5 * steps + 5 * guides) * (1 + complexity(graph) / 10)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
