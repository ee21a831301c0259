"""Packs of custom nodes that lie in a ComfyUI's folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comfyops.support.git_folders import commit_of, origin_of

FOLDER = "custom_nodes"
DISABLED = ".disabled"
"""What ComfyUI leaves alone: folders whose names end so."""


@dataclass(frozen=True, slots=True)
class InstalledPack:
    """A pack: the name of its folder, and what it says of itself ("" = nothing).

    One that is not `whole` was being brought to another commit when the machine or the command died.
    """

    name: str
    path: Path
    version: str = ""
    commit: str = ""
    url: str = ""
    whole: bool = True


def installed(root: Path) -> tuple[InstalledPack, ...]:
    """The packs of the ComfyUI in `root`, by name; files of single nodes and what is switched off are left out."""
    return tuple(sorted(_packs(root), key=lambda pack: pack.name.casefold()))


def find(root: Path, name: str) -> InstalledPack | None:
    """The pack of a name, in whatever case it is written; None where it is not there."""
    return next((pack for pack in installed(root) if pack.name.casefold() == name.casefold()), None)


def unfinished(folder: Path) -> Path:
    """The file that lies in a pack's folder while it is brought to another commit."""
    return folder / ".git" / "comfyops-unfinished"


def _packs(root: Path) -> Iterator[InstalledPack]:
    with suppress(OSError):
        for path in (root / FOLDER).iterdir():
            hidden = path.name.startswith((".", "__")) or path.name.endswith(DISABLED)
            if path.is_dir() and not hidden:
                whole = not unfinished(path).exists()
                yield InstalledPack(path.name, path, _version(path), commit_of(path), origin_of(path), whole)


def _version(folder: Path) -> str:
    with suppress(OSError, ValueError):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        return str(project.get("version") or "") if isinstance(project, dict) else ""
    return ""
