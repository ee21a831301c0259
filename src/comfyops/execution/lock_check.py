"""Whether a lock of a workflow holds: in itself, on this machine, on a server, at its sources. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comfyops.backends.model_files import ServerModel
from comfyops.execution.workflow_lock import PackPin, Program, WorkflowLock, pack_folders, program_in, version_of
from comfyops.models import facts
from comfyops.models.catalog import Wanted
from comfyops.models.lock import Pin, entry_of
from comfyops.models.provision import Provision
from comfyops.models.sources import Web, source_of
from comfyops.support.git_folders import commit_of
from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that a lock says, and whether it holds."""

    ok: bool
    kind: str
    name: str
    words: str


def itself(lock: WorkflowLock) -> Iterator[Row]:
    """Whether every model can be had again exactly: it has a size and a hash, and an address that does not move."""
    for key, pin in lock.models.pins.items():
        said = (("address", pin.url), ("size", pin.size), ("SHA-256", pin.sha256))
        lacks = [word for word, value in said if not value]
        if pin.url and source_of(pin.url) == "huggingface" and not pin.revision:
            lacks.append("revision")
        yield Row(not lacks, "model", key, f"lacks {' and '.join(lacks)}" if lacks else "pinned")


def on_machine(lock: WorkflowLock, root: Path, provision: Provision, *, deep: bool) -> Iterator[Row]:
    """Whether ComfyUI, packs and models in a folder are those of the lock; with `deep` every byte of models is read."""
    yield _program(lock.comfyui, program_in(root))
    folders = pack_folders(root)
    for name, pin in lock.packs.items():
        yield _pack(name, pin, folders.get(name.casefold()))
    wanted = [Wanted(entry_of(key, pin)) for key, pin in lock.models.pins.items()]
    provision.pinned = lock.models
    for item in provision.check(wanted, deep=deep):
        yield Row(item.good, "model", item.entry.id, item.why or item.state.value)


def differences(lock: WorkflowLock, workflow: str, sha256: str, program: Program) -> Iterator[Row]:
    """In what a workflow and the ComfyUI that it is prepared for differ from those of its lock."""
    if sha256 != lock.sha256:
        yield Row(
            False, "workflow", workflow, f"is another file than the lock's, which was {lock.workflow or 'unnamed'}"
        )
    known = replace(lock.comfyui, commit=lock.comfyui.commit if program.commit else "")
    if program.version and not (row := _program(known, program)).ok:
        yield row


def on_server(lock: WorkflowLock, types: NodeTypes, version: str, models: Sequence[ServerModel]) -> Iterator[Row]:
    """Whether a server has the classes and the models; of models it knows names and sizes alone."""
    yield _program(Program(lock.comfyui.version), Program(version))
    for name, pack in lock.packs.items():
        gone = [item for item in pack.classes if item not in types]
        yield Row(not gone, "nodes", name, f"lacks {', '.join(gone)}" if gone else "its classes are there")
    sizes = {f"{item.folder}/{item.name}": item.size for item in models}
    for key, pin in lock.models.pins.items():
        yield _served(key, pin, sizes)


def upstream(lock: WorkflowLock, web: Web) -> Iterator[Row]:
    """Whether the sources still have the very files."""
    entries = [lock.models.pinned(entry_of(key, pin)) for key, pin in lock.models.pins.items() if pin.url]
    for answer in facts.ask(entries, web):
        words = answer.error.message if answer.error else "its source has it"
        yield Row(answer.error is None, "source", answer.entry.id, words)


def _program(wanted: Program, found: Program) -> Row:
    same = (not wanted.version or wanted.version == found.version) and wanted.commit in ("", found.commit)
    said = " ".join(part for part in (found.version, found.commit[:12]) if part) or "of unknown version"
    asked = " ".join(part for part in (wanted.version, wanted.commit[:12]) if part)
    return Row(same, "program", "ComfyUI", said if same else f"{said}, not {asked}")


def _pack(name: str, pin: PackPin, folder: Path | None) -> Row:
    if folder is None:
        return Row(False, "nodes", name, f"is not there{f'; it comes from {pin.url}' if pin.url else ''}")
    commit = commit_of(folder)
    if pin.commit and commit != pin.commit:
        return Row(False, "nodes", name, f"is at {commit[:12] or 'no known commit'}, not {pin.commit[:12]}")
    if pin.commit:
        return Row(True, "nodes", name, "at its commit")
    version = version_of(folder)
    if pin.version and version != pin.version:
        return Row(False, "nodes", name, f"has version {version or 'unknown'}, not {pin.version}")
    return Row(True, "nodes", name, "of its version" if pin.version else "is there, at whatever version")


def _served(key: str, pin: Pin, sizes: dict[str, int | None]) -> Row:
    if key not in sizes:
        return Row(False, "model", key, "the server does not have it")
    size = sizes[key]
    same = size is None or pin.size is None or size == pin.size
    return Row(same, "model", key, "the server has it" if same else f"{size:,} bytes, not {pin.size:,}")
