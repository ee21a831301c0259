"""Rendering one panel: kept where nothing changed, else uploaded, checked, run, fetched and stored."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from comfyops.backends.backend import Backend
from comfyops.backends.events import Finished, Output, OutputKind
from comfyops.errors import OutputGoneError, RunFailedError, RunLostError
from comfyops.execution import provenance, records
from comfyops.execution.keys import run_id_of
from comfyops.execution.provenance import Provenance
from comfyops.execution.records import PanelState
from comfyops.execution.run import OnEvent, check_graph, execute, raise_unless_successful
from comfyops.execution.uploads import Uploads, sha256_of
from comfyops.storyboard.planning import PanelPlan, with_uploads
from comfyops.storyboard.project import Project
from comfyops.workflows import api_format
from comfyops.workflows.graph import Graph
from comfyops.workflows.node_types import NodeTypes

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True, slots=True)
class _Run:
    """One successful run: what was sent, how it ended, the picture it gave, when it was submitted."""

    graph: Graph
    finished: Finished
    output: Output
    data: bytes
    submitted_at: float


class PanelRenderer:
    """Renders panels of one project on one server into one folder; may be used by several tasks at once."""

    def __init__(
        self,
        project: Project,
        backend: Backend,
        folder: Path,
        types: NodeTypes,
        version: str,
        key: str,
        *,
        simulated: bool,
    ) -> None:
        self.url = without_login(backend.url)
        self.version = version
        self.simulated = simulated
        self._project = project
        self._backend = backend
        self._folder = folder
        self._types = types
        self._key = key
        self._uploads = Uploads(backend)

    async def render(self, plan: PanelPlan, *, force: bool, on_event: OnEvent) -> tuple[Provenance, PanelState]:
        """The panel's record, and whether its picture was rendered or kept.

        Raises InvalidWorkflowError, StoryboardError, MissingFileError, StorageError and BackendErrors.
        """
        hashes = await asyncio.to_thread(_hashes, plan)
        fingerprint = provenance.fingerprint(api_format.dump(plan.graph), hashes)
        if not force:
            record = await asyncio.to_thread(self._kept, plan, fingerprint)
            if record:
                return record, PanelState.KEPT
        names = {upload.node: await self._uploads.name_of(upload.path) for upload in plan.uploads}
        key = f"{self._key}:{plan.id}:{fingerprint}"
        run = await self._run(with_uploads(plan.graph, names), plan, key, on_event)
        record = await asyncio.to_thread(self._store, plan, run, fingerprint, hashes)
        return record, PanelState.RENDERED

    def _kept(self, plan: PanelPlan, fingerprint: str) -> Provenance | None:
        return records.kept(self._folder, plan, fingerprint, simulated=self.simulated)

    async def _run(self, graph: Graph, plan: PanelPlan, key: str, on_event: OnEvent) -> _Run:
        """Run until there is a picture; once more where the server restarted, or its cached file is gone.

        A run that was begun before, by a process that was killed, is gone on with.
        """
        check_graph(graph, self._types)
        try:
            return await self._run_once(graph, plan, on_event, await run_id_of(self._backend, key))
        except (OutputGoneError, RunLostError):
            prefix = f"{plan.picture.prefix}-{secrets.token_hex(4)}"
            return await self._run_once(graph.with_input(plan.save_node, "filename_prefix", prefix), plan, on_event)

    async def _run_once(self, graph: Graph, plan: PanelPlan, on_event: OnEvent, run_id: str | None = None) -> _Run:
        submitted_at = time.time()
        finished = await execute(graph, self._backend, on_event=on_event, run_id=run_id)
        raise_unless_successful(finished)
        images = [item for item in finished.outputs if item.node == plan.save_node and item.kind is OutputKind.IMAGE]
        if not images:
            raise RunFailedError(f"The run of panel {plan.id} ended without a picture.", run_id=finished.run_id)
        return _Run(graph, finished, images[0], await self._backend.fetch(images[0]), submitted_at)

    def _store(self, plan: PanelPlan, run: _Run, fingerprint: str, hashes: dict[str, str]) -> Provenance:
        width, height = provenance.checked_size(run.data)
        suffix = PurePosixPath(run.output.filename).suffix.lower()
        path = records.picture_path(self._folder, plan.id, suffix if suffix in _SUFFIXES else ".png")
        record = self._record(plan, run, fingerprint)
        record = replace(record, width=width, height=height, file=path.name, uploads=_named(plan, hashes))
        return provenance.store(path, run.data, record)

    def _record(self, plan: PanelPlan, run: _Run, fingerprint: str) -> Provenance:
        picture, finished, now = plan.picture, run.finished, time.time()
        return Provenance(
            panel=plan.id,
            project=self._project.id,
            positive=picture.positive,
            negative=picture.negative,
            seed=picture.seed,
            seed_source=plan.seed_source,
            family=plan.family.name,
            models=plan.models,
            width=picture.size.width,
            height=picture.size.height,
            steps=picture.steps,
            cfg=picture.cfg,
            sampler=picture.sampler,
            scheduler=picture.scheduler,
            graph=api_format.dump(run.graph),
            uploads={},
            fingerprint=fingerprint,
            backend=self.url,
            backend_version=self.version,
            run_id=finished.run_id,
            cached=finished.cached,
            simulated=self.simulated or provenance.is_simulated(run.data),
            submitted_at=run.submitted_at,
            finished_at=now,
            seconds=_seconds(finished, now - run.submitted_at),
            file="",
            sha256_received=provenance.sha256(run.data),
            notes=plan.notes,
        )


def without_login(url: str) -> str:
    """An address without user name, password and query, fit for a record."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _hashes(plan: PanelPlan) -> dict[str, str]:
    """Node id -> SHA-256 of the picture it loads."""
    return {upload.node: sha256_of(upload.path) for upload in plan.uploads}


def _named(plan: PanelPlan, hashes: dict[str, str]) -> dict[str, str]:
    return {upload.path.name: hashes[upload.node] for upload in plan.uploads}


def _seconds(finished: Finished, waited: float) -> float:
    """How long the run took by the server's clock, else how long we waited."""
    if finished.started_at is None or finished.finished_at is None:
        return waited
    return max(0.0, finished.finished_at - finished.started_at)
