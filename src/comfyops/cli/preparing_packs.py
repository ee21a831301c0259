"""Packs of custom nodes that a workflow needs: those of its lock, and those that bring its missing nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from comfyops.cli import pack_installing
from comfyops.cli.options import wait_for
from comfyops.cli.pack_installing import Ask, PackPlans
from comfyops.config import Settings
from comfyops.deploy.packs.planning import Tools
from comfyops.deploy.packs.request import PackRequest, is_name, known
from comfyops.errors import MissingFileError
from comfyops.execution.preparation import Preparation
from comfyops.execution.workflow_lock import WorkflowLock


def needed(found: Preparation, pinned: WorkflowLock | None) -> tuple[PackRequest, ...]:
    """The packs to have: each of the lock, at its commit (else its version), and what brings missing nodes."""
    requests = {name.casefold(): request for name, request in _of_lock(pinned)}
    for node in found.missing_nodes:
        if is_name(node.brought_by):
            requests.setdefault(node.brought_by.casefold(), known(PackRequest(node.brought_by, node.url)))
    return tuple(requests.values())


def planned(
    found: Preparation, pinned: WorkflowLock | None, ask: Ask, chosen: Settings
) -> tuple[Preparation, PackPlans, Tools | None]:
    """What is to be done for packs, and the preparation that counts on it; nothing is asked where none is needed."""
    requests = needed(found, pinned)
    if not requests:
        return found, PackPlans(), None
    tools = wait_for(pack_installing.tools_for(ask, chosen))
    plans = wait_for(pack_installing.planned(requests, tools))
    brought = [name for item in plans.to_do for name in _names(item.name, item.url)]
    return found.with_packs(brought), plans, tools


def _of_lock(pinned: WorkflowLock | None) -> Iterator[tuple[str, PackRequest]]:
    for name, pin in (pinned.packs if pinned else {}).items():
        if not is_name(name):
            raise MissingFileError(f"The lock names a pack {name[:80]!r}, which is no name of one.")
        if pin.commit or pin.version:
            url = pin.url if pin.commit else ""
            yield name, PackRequest(name, url, pin.commit or pin.version)


def _names(name: str, url: str) -> Iterator[str]:
    """The names that a workflow may call a pack by: its folder's, and its repository's."""
    yield name
    if url:
        yield Path(url.rstrip("/")).name.removesuffix(".git")
