"""What stands between a workflow and its run: nodes, models, disk, memory. Inspected first, then fetched, then tried.

Models are known from, first wins: a lock file, the catalogs, the addresses that the workflow itself names.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comfyops.errors import CatalogError, DiskFullError, UnsafeNameError
from comfyops.models.catalog import Catalog, Wanted
from comfyops.models.check import Finding, State
from comfyops.models.entry import ModelEntry, merged, parse
from comfyops.models.folders import canonical
from comfyops.models.plan import Blocked, Plan
from comfyops.models.provision import Provision
from comfyops.models.transfer.space import still_needed
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.problems import Problem, Severity
from comfyops.workflows.readiness import DeviceFacts, MissingNode, ModelNeed, Readiness, VramFit, readiness
from comfyops.workflows.smallest import lacks_picture
from comfyops.workflows.stated import Stated

_MARGIN = 0.01
"""Part of the bytes to fetch that must stay free besides."""

Sizes = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Subject:
    """What is to be made runnable: a workflow's graph, or those of a storyboard's panels; by name."""

    name: str
    graphs: Mapping[str, Graph]
    stated: Stated
    sha256: str


@dataclass(frozen=True)
class Ground:
    """Where it is to run: the node types, sizes of the server's model files, its device, packs whose folders are there.

    `packs` are folders of custom nodes whose classes nobody could be asked for.
    """

    types: NodeTypes
    sizes: Sizes
    device: DeviceFacts | None = None
    packs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DiskFit:
    """Bytes to fetch into a disk against what is free on it."""

    path: str
    needed: int
    free: int

    @property
    def is_enough(self) -> bool:
        """Whether it all goes onto the disk, with a margin."""
        return self.needed * (1 + _MARGIN) <= self.free


@dataclass(frozen=True)
class Preparation:
    """All that was found.

    `findings` are of the models, `refused` are names that no model has, `plan` is what is to be fetched (None = nowhere
    to put it). `assumed` are missing classes whose pack's folder is there; a running server would know. `coming` are
    missing classes whose packs are going to be installed.
    """

    subject: Subject
    missing_nodes: tuple[MissingNode, ...]
    assumed: tuple[MissingNode, ...]
    problems: tuple[Problem, ...]
    findings: tuple[Finding, ...]
    refused: tuple[Blocked, ...]
    plan: Plan | None
    disks: tuple[DiskFit, ...]
    vram: VramFit
    coming: tuple[MissingNode, ...] = ()

    def with_packs(self, names: Iterable[str]) -> Preparation:
        """The same, where these packs are going to be installed: their classes are `coming`, no longer missing."""
        known = {name.casefold() for name in names}
        coming = tuple(item for item in self.missing_nodes if item.brought_by.casefold() in known)
        return replace(self, missing_nodes=tuple(i for i in self.missing_nodes if i not in coming), coming=coming)

    @property
    def blocked(self) -> tuple[Blocked, ...]:
        """The models that are missing and cannot be had."""
        if self.plan is not None:
            return self.refused + self.plan.blocked
        why = "The server does not have it, and no models folder of this machine is known."
        hint = "Run this on the server's machine with --comfyui-path DIR."
        lacking = (Blocked(item.entry, True, "missing", why, hint) for item in self.findings if item.bad)
        return (*self.refused, *lacking)

    @property
    def can_run(self) -> bool:
        """Whether the plan brings all that is missing and has room for it, and nothing is wrong."""
        wrong = any(item.severity is not Severity.WARNING for item in self.problems)
        return self.has_room and not (self.missing_nodes or wrong or self.blocked)

    @property
    def has_room(self) -> bool:
        """Whether the disks have room for what is to be fetched."""
        return all(disk.is_enough for disk in self.disks)

    @property
    def has_everything(self) -> bool:
        """Whether it could run now."""
        return self.can_run and not self.coming and not (self.plan and self.plan.fetch)


def inspect(subject: Subject, ground: Ground, catalog: Catalog, provision: Provision | None) -> Preparation:
    """Find out what is needed and what of it is there; sources are asked for what is not known of missing models."""
    found = [
        readiness(graph, ground.types, stated=subject.stated, sizes=ground.sizes, device=ground.device)
        for graph in subject.graphs.values()
    ]
    needs = {(item.folder, item.name): item for report in found for item in report.models}
    wanted, refused = _wanted(needs.values(), catalog)
    findings, plan = _models(wanted, provision)
    missing, assumed = _nodes((item for report in found for item in report.missing_nodes), ground.packs)
    return Preparation(
        subject,
        missing,
        assumed,
        tuple(dict.fromkeys(_problems(subject.graphs.values(), found, ground.types))),
        findings,
        refused,
        plan,
        tuple(disk_fits(plan)) if plan else (),
        _vram(subject, ground, findings, plan),
    )


def entry_for(need: ModelNeed, catalog: Catalog) -> ModelEntry:
    """What is known of a model that a workflow names; its name and folder are the workflow's.

    A source that the workflow names goes after those of the catalog, and is left out where it is no address of a model.
    Raises UnsafeNameError for a name that would leave the models folder.
    """
    folder, file = canonical(need.folder), need.name.replace("\\", "/")
    base = file.rpartition("/")[2]
    known = catalog.models.get(f"{folder}/{file}") or catalog.models.get(f"{folder}/{base}")
    entry = ModelEntry(folder, file) if known is None else replace(known, file=file)
    fields = {"folder": folder, "file": file}
    try:
        own = parse({**fields, "url": need.url} if need.url else fields, "The workflow")
    except CatalogError:  # a folder of files, say, that nodes name as one model
        own = entry
    return merged(entry, own)


def check_disks(disks: Iterable[DiskFit]) -> None:
    """Raises DiskFullError for the first disk that has no room for what it is to take."""
    for disk in disks:
        if not disk.is_enough:
            words = f"No space left on device: {disk.needed / 1e9:.2f} GB are needed in {disk.path}"
            facts = {"path": disk.path, "needed_bytes": disk.needed, "free_bytes": disk.free}
            raise DiskFullError(f"{words}, {disk.free / 1e9:.2f} GB are free there.", hint=None, **facts)


def disk_fits(plan: Plan) -> Iterator[DiskFit]:
    """What each disk is to take still; files of unknown size are not counted."""
    needed: dict[int, tuple[Path, int]] = {}
    for item in plan.fetch:
        folder = next(path for path in Path(item.target).absolute().parents if path.exists())
        first, size = needed.get(folder.stat().st_dev, (folder, 0))
        needed[folder.stat().st_dev] = first, size + still_needed(Path(item.target), item.entry.size)
    for folder, size in needed.values():
        yield DiskFit(str(folder), size, shutil.disk_usage(folder).free)


def _problems(graphs: Iterable[Graph], found: Sequence[Readiness], types: NodeTypes) -> Iterator[Problem]:
    """What is wrong; pictures that the server lacks are a warning, since the smoke run puts others in their place."""
    for graph, report in zip(graphs, found, strict=True):
        for problem in report.problems:
            node = graph.nodes.get(problem.node)
            value = (node.inputs or {}).get(problem.input) if node is not None else None
            if node is None or not lacks_picture(types, node.class_type or "", problem.input, value):
                yield problem
                continue
            words = f"Node {problem.node} ({node.class_type}) loads {value}, which the server does not have."
            yield replace(problem, code="picture_missing", severity=Severity.WARNING, message=words)


def _wanted(needs: Iterable[ModelNeed], catalog: Catalog) -> tuple[list[tuple[ModelNeed, Wanted]], tuple[Blocked, ...]]:
    """The models that are needed, and those whose names are refused."""
    wanted: list[tuple[ModelNeed, Wanted]] = []
    refused: list[Blocked] = []
    for need in needs:
        try:
            wanted.append((need, Wanted(entry_for(need, catalog))))
        except UnsafeNameError as error:
            refused.append(Blocked(ModelEntry(need.folder, need.name), True, error.code, error.message, error.hint))
    return wanted, tuple(refused)


def _models(
    wanted: Sequence[tuple[ModelNeed, Wanted]], provision: Provision | None
) -> tuple[tuple[Finding, ...], Plan | None]:
    if provision is None:
        return tuple(_as_the_server_says(need, item) for need, item in wanted), None
    findings = provision.check([item for _, item in wanted])
    return findings, provision.plan(findings, ask=not provision.web.offline)


def _as_the_server_says(need: ModelNeed, item: Wanted) -> Finding:
    state = State.MISSING if need.installed is False else State.PRESENT
    sizes = (need.size, item.entry.size)
    other = need.installed and None not in sizes and sizes[0] != sizes[1]
    why = "the server does not tell" if need.installed is None else "not of the catalog's size" if other else ""
    entry = replace(item.entry, size=need.size, sha256=None) if other else item.entry
    return Finding(entry, True, state, "", need.size, why=why)


def _nodes(
    missing: Iterable[MissingNode], packs: frozenset[str]
) -> tuple[tuple[MissingNode, ...], tuple[MissingNode, ...]]:
    """The classes that are missing, each once, and those of packs whose folder is there."""
    found = {item.class_type: item for item in missing}
    there = {name.casefold() for name in packs}
    assumed = {name: item for name, item in found.items() if item.brought_by.casefold() in there}
    return tuple(item for name, item in found.items() if name not in assumed), tuple(assumed.values())


def _vram(subject: Subject, ground: Ground, findings: Sequence[Finding], plan: Plan | None) -> VramFit:
    """The largest need for memory among the graphs, with the sizes of what is to be fetched."""
    sizes = dict(ground.sizes)
    entries = [(item.entry, item.size) for item in findings]
    entries += [(item.entry, None) for item in plan.fetch] if plan else []
    for entry, size in entries:
        known = size or entry.size
        if known:
            sizes[entry.folder, entry.file] = known
    fits = [
        readiness(graph, ground.types, stated=subject.stated, sizes=sizes, device=ground.device).vram
        for graph in subject.graphs.values()
    ]
    return max(fits, key=lambda fit: fit.known_bytes)
