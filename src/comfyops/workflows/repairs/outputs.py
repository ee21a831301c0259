"""A graph that saves and shows nothing, so that nothing of it would run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from comfyops.workflows.graph import Link, Node, Value
from comfyops.workflows.repairs.bench import Bench
from comfyops.workflows.repairs.proposal import Change, Kind, Proposal, Proposals

_SAVERS: Mapping[str, tuple[str, str, Mapping[str, Value]]] = {
    "IMAGE": ("SaveImage", "images", {"filename_prefix": "ComfyUI"}),
    "VIDEO": ("SaveVideo", "video", {"filename_prefix": "video/ComfyUI", "format": "auto", "codec": "auto"}),
    "AUDIO": ("PreviewAudio", "audio", {}),
    "MASK": ("MaskPreview", "mask", {}),
    "LATENT": ("SaveLatent", "samples", {"filename_prefix": "latents/ComfyUI"}),
    "STRING": ("PreviewAny", "source", {}),
}
"""Type of output -> (class that saves or shows it, the input for it, its other inputs)."""


def added(bench: Bench) -> Proposals:
    """A node that saves or shows what nobody takes, where no node does."""
    if any((found := bench.type_of(node)) is None or found.is_output for node in bench.nodes.values()):
        return
    for kind, (class_type, name, others) in _SAVERS.items():
        if class_type not in bench.types:
            continue
        for node_id in reversed(bench.nodes):
            for link in bench.outputs_of(node_id, kind):
                if not bench.taken_as(link) and bench.kind_of(link) == kind:
                    yield _saver(bench, class_type, {name: link, **_wanted(bench, class_type, others)})
                    return


def _wanted(bench: Bench, class_type: str, others: Mapping[str, Value]) -> dict[str, Value]:
    """The other inputs as this server's class has them: a choice that it does not know becomes its first."""
    found: dict[str, Value] = {}
    for name, value in others.items():
        item = bench.types[class_type].input(name)
        if item is not None:
            found[name] = value if not item.choices or value in item.choices else item.choices[0]
    return found


def _saver(bench: Bench, class_type: str, inputs: dict[str, Value]) -> Proposal:
    link = next(value for value in inputs.values() if type(value) is Link)
    words = f"No node saves or shows anything, so nothing would run; output {link.slot} of node {link.node} is free."
    node = Node(_free_id(bench), class_type, MappingProxyType(inputs))
    return Proposal((Change(node.id, "", Kind.ADD, None, class_type, words, False),), (node,))


def _free_id(bench: Bench) -> str:
    numbers = [int(key) for key in bench.nodes if key.isdecimal() and len(key) < 12]
    return str(max(numbers, default=0) + 1)
