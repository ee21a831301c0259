"""What is to be done for a pack: by whom, and at which commit or version. Nothing is changed.

A commit, or an address of git, is had by git. A version is had by the first that can: ComfyUI-Manager on a running
server, the official installer comfy-cli, git where the repository has a tag of the version.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from comfyops.deploy.packs import request as requests
from comfyops.deploy.packs.git import Git
from comfyops.deploy.packs.installed import InstalledPack, find
from comfyops.deploy.packs.manager import NodeManager
from comfyops.deploy.packs.registry import Listed, Registry
from comfyops.deploy.packs.request import PackRequest
from comfyops.deploy.packs.requirements import PythonPackages
from comfyops.errors import NodePackError


class How(StrEnum):
    """Who brings a pack."""

    THERE = "there"
    GIT = "git"
    MANAGER = "manager"
    COMFY_CLI = "comfy-cli"


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What is to be done for one pack; `before` is what of it is there now. It ends at `commit`, or at `version`."""

    name: str
    how: How
    url: str = ""
    commit: str = ""
    version: str = ""
    before: InstalledPack | None = None


@dataclass(frozen=True)
class Tools:
    """What packs can be had with: ComfyUI's folder and Python here, the manager of a server, the registry, git.

    `by` allows one way only.
    """

    root: Path | None
    python: PythonPackages | None
    manager: NodeManager | None
    registry: Registry
    git: Git
    by: How | None = None

    def allows(self, how: How) -> bool:
        """Whether this way may be taken."""
        return self.by in (None, how)


async def plan(request: PackRequest, tools: Tools) -> PackPlan:
    """What is to be done for a pack.

    Raises NodePackError where nothing here can bring it, UsageError for a bad address.
    """
    before = find(tools.root, request.name) if tools.root else None
    if before is not None and before.whole and request.pin in ("", before.commit, before.version):
        return PackPlan(before.name, How.THERE, before.url, before.commit, before.version, before)
    if request.url or request.commit:
        return await _by_git(await _with_url(request, tools), tools, before)
    listed = await tools.registry.look_up(request.name)
    if listed is None:
        words = f"The registry of packs does not have {request.name}."
        raise NodePackError(words, hint="Give its repository: OWNER/NAME or an https address.", pack=request.name)
    return await _listed(request, listed, tools, before)


async def _listed(request: PackRequest, listed: Listed, tools: Tools, before: InstalledPack | None) -> PackPlan:
    version = request.pin or listed.version
    if before is not None and version and before.version == version:
        return PackPlan(before.name, How.THERE, before.url, before.commit, version, before)
    if version and tools.manager is not None and tools.allows(How.MANAGER):
        return PackPlan(request.name, How.MANAGER, listed.url, "", version, before)
    if version and tools.allows(How.COMFY_CLI) and await _has_comfy_cli(tools):
        return PackPlan(request.name, How.COMFY_CLI, listed.url, "", version, before)
    return await _by_git(PackRequest(request.name, listed.url, request.pin), tools, before)


async def _with_url(request: PackRequest, tools: Tools) -> PackRequest:
    """The request with its repository's address, from the registry where it has none itself."""
    if request.url:
        return request
    listed = await tools.registry.look_up(request.name)
    return PackRequest(request.name, listed.url if listed else "", request.pin)


async def _by_git(request: PackRequest, tools: Tools, before: InstalledPack | None) -> PackPlan:
    _check_git(request, tools)
    commit = await tools.git.commit(request)
    if before is not None and before.whole and before.commit == commit:
        return PackPlan(before.name, How.THERE, before.url, commit, before.version, before)
    name = before.name if before else _folder(request)
    return PackPlan(name, How.GIT, request.url, commit, "", before)


def _check_git(request: PackRequest, tools: Tools) -> None:
    """Raises NodePackError where git cannot bring a pack, with what to do instead."""
    why = hint = ""
    if tools.root is None:
        why, hint = "no folder of a ComfyUI is known", "Run this on its machine with --comfyui-path DIR."
    elif tools.python is None:
        why, hint = f"the ComfyUI in {tools.root} has no Python of its own", "Name the one it runs with by --python."
    elif not tools.allows(How.GIT):
        why, hint = f"it can be had by git only, not by {tools.by}", "Leave --by out, or give a version."
    elif not request.url:
        why, hint = "no repository is known of it", "Give it: OWNER/NAME or an https address, with @COMMIT."
    elif shutil.which("git") is None:
        why, hint = "there is no git on the PATH", "Install git, or ComfyUI-Manager and comfy-cli."
    elif tools.registry.offline and not request.url.startswith("file:"):
        why, hint = "no repository is asked while offline", "Unset HF_HUB_OFFLINE (COMFYOPS_OFFLINE)."
    if why:
        raise NodePackError(f"{request.name} cannot be installed: {why}.", hint=hint, pack=request.name)


def _folder(request: PackRequest) -> str:
    """The repository's own way to write the name, where it is the same one."""
    own = requests.name_of(request.url)
    return own if own.casefold() == request.name.casefold() else request.name


async def _has_comfy_cli(tools: Tools) -> bool:
    """Whether the official installer can work here: it needs ComfyUI-Manager in ComfyUI's Python."""
    if tools.root is None or tools.python is None or shutil.which("comfy") is None:
        return False
    return "cm_cli" in await tools.python.facts()
