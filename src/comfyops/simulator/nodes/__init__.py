"""The nodes of the simulator: every class there is has an implementation.

Classes that need no model are computed for real (one file per subject, each with its table NODES); classes that need
one are simulated from what they are given, and any other class gets stand-ins by its declared types (`stand_ins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from comfyops.errors import MissingExtraError
from comfyops.simulator.call import NodeFunction
from comfyops.workflows.node_types import NodeType


def function_for(node_type: NodeType) -> NodeFunction:
    """What runs a node of this type.

    Raises MissingExtraError where the extra `simulator` is not installed.
    """
    computed, simulated, otherwise = _tables()
    return computed.get(node_type.name) or simulated.get(node_type.name) or otherwise


def is_computed(class_type: str) -> bool:
    """Whether this class does its real work here (else it is simulated)."""
    return class_type in _tables()[0]


def computed_classes() -> frozenset[str]:
    """The classes that do their real work here."""
    return frozenset(_tables()[0])


@cache
def _tables() -> tuple[Mapping[str, NodeFunction], Mapping[str, NodeFunction], NodeFunction]:
    """Classes computed, classes simulated with rules of their own, and what runs all others."""
    try:
        from comfyops.simulator.nodes import (
            boxes,
            compositing,
            filters,
            images,
            inputs,
            latent_files,
            latents,
            logic,
            masks,
            sampling,
            save,
            sounds,
            stand_ins,
            texts,
            upscaling,
            video,
        )
    except ImportError as error:
        raise MissingExtraError(
            f"The simulator needs a part that is not installed: {error.name}.",
            hint="Install it with: pip install 'comfyops[simulator]'",
        ) from error
    subjects = (boxes, compositing, filters, images, inputs, logic, masks, save, sounds, texts, video)
    computed = {name: function for subject in subjects for name, function in subject.NODES.items()}
    return computed, {**latents.NODES, **latent_files.NODES, **sampling.NODES, **upscaling.NODES}, stand_ins.stand_in
