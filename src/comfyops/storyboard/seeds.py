"""Seeds: the same project and the same panel give the same seed on any machine, in any order of panels."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from comfyops.storyboard.project import DRAW, Panel, Project

BITS = 53
"""Seeds stay below 2**53, so that every program that reads them as JSON keeps them exact (a sampler takes 2**64)."""

LARGEST = 2**64 - 1
"""The largest seed that a sampler takes."""


def derive(project_seed: int, panel_id: str) -> int:
    """The panel's seed: the first 53 bits of SHA-256 over both."""
    return _digest("panel", str(project_seed), panel_id)


def of_name(project_id: str) -> int:
    """The seed of a project that does not give one: made from its id."""
    return _digest("project", project_id)


def draw() -> int:
    """A random seed."""
    return secrets.randbits(BITS)


def of_panel(project: Project, panel: Panel, drawn: Mapping[str, int]) -> int:
    """The seed to render a panel with: the explicit one, else the derived one.

    Where the panel asks for a drawn one, `drawn` may hold that of an earlier run; it is drawn now otherwise.
    """
    if panel.seed is None:
        return derive(project.seed, panel.id)
    if panel.seed == DRAW:
        return drawn[panel.id] if panel.id in drawn else draw()
    return panel.seed


def _digest(*parts: str) -> int:
    digest = hashlib.sha256("\0".join(("comfyops", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - BITS)
