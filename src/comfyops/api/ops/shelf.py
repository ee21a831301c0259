"""What the routes for models do: looked at, planned, fetched, fetched by hand, or by ComfyUI-Manager."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyops.errors import ComfyOpsError, UsageError
from comfyops.models import manager, manual
from comfyops.models.catalog import Catalog, Choice, Wanted
from comfyops.models.check import Finding, State
from comfyops.models.downloads import Downloads
from comfyops.models.manual import Step
from comfyops.models.plan import Plan
from comfyops.models.provision import Provision
from comfyops.models.sources import Web

_MANAGER_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Errand:
    """What ComfyUI-Manager was asked for, and what became of it."""

    server: str
    models: tuple[str, ...]
    began: float
    running: bool = True
    outcomes: tuple[Mapping[str, Any], ...] = ()
    error: Mapping[str, str] | None = None


@dataclass
class Shelf:
    """The models of one folder. `provision` makes what checks and plans; `webs` ask the server of that address."""

    catalog: Callable[[], Catalog]
    provision: Callable[[], Provision]
    downloads: Downloads
    webs: Mapping[str, Web] = field(default_factory=dict)
    offline: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._errand: Errand | None = None
        self._sizes: dict[str, int] = {}

    def groups(self) -> list[dict[str, Any]]:
        """Every set of models by name, with how many are required; those of people first, official templates after."""
        known = self.catalog()
        return [
            {"name": name, "models": len(members), "required": sum(item.required for item in members)}
            for name, members in sorted(known.all_groups.items())
        ]

    def wanted(self, choice: Choice) -> tuple[Wanted, ...]:
        """The models that are meant. Raises UnknownModelError."""
        return self.catalog().chosen(choice)

    def check(self, choice: Choice, *, deep: bool = False) -> dict[str, Any]:
        """What is there. Raises UnknownModelError, StorageError."""
        provision = self.provision()
        findings = provision.check(self.wanted(choice), deep=deep)
        return {
            "root": str(provision.storage.root),
            "ok": not any(item.bad for item in findings),
            "models": [finding_data(item) for item in findings],
        }

    def plan(self, choice: Choice) -> Plan:
        """What is to be fetched; sources are asked for what is not known. Raises UnknownModelError, StorageError."""
        provision = self.provision()
        return provision.plan(provision.check(self.wanted(choice)), ask=not self.offline)

    def start(self, choice: Choice) -> Plan:
        """Fetch what is missing; returns at once with what was begun. Raises as `plan`, NotWritableError."""
        made = self.plan(choice)
        self.downloads.start(made.fetch)
        return made

    def steps(self, choice: Choice) -> list[dict[str, Any]]:
        """What a person has to fetch by hand, and whether it has come. Raises UnknownModelError, UnsafeNameError."""
        provision = self.provision()
        findings = provision.check(self.wanted(choice))
        known = {item.entry.id: item for item in findings}
        chosen = [item.entry for item in findings if item.required or item.bad]
        return [self._step(step, known[step.entry.id]) for step in manual.steps(chosen, provision.storage)]

    def by_manager(self, choice: Choice, server: str) -> Errand:
        """Have the ComfyUI-Manager of a backend fetch models; returns at once.

        Raises UnknownModelError, UnsupportedError where there is none, DownloadError, UsageError while one is at it.
        """
        if server not in self.webs:
            raise UsageError(f"{server[:100]!r} is no backend of this gateway.")
        entries = [item.entry for item in self.wanted(choice) if item.required]
        found = manager.find(server, self.webs[server])
        with self._lock:
            if self._errand is not None and self._errand.running:
                raise UsageError("ComfyUI-Manager is still fetching.", hint="Wait until it has ended.")
            self._errand = Errand(server, tuple(entry.id for entry in entries), time.time())

        def work() -> None:
            outcomes: tuple[Mapping[str, Any], ...] = ()
            failed: Mapping[str, str] | None = None
            try:
                handled = found.install(entries, _MANAGER_SECONDS)
                outcomes = tuple({"model": h.entry.id, "there": h.there, "why": h.why} for h in handled)
            except ComfyOpsError as error:
                failed = {"code": error.code, "message": error.message, "hint": error.hint}
            before = self._errand
            assert before is not None
            self._errand = Errand(before.server, before.models, before.began, False, outcomes, failed)

        threading.Thread(target=work, name="comfyui-manager", daemon=True).start()
        return self._errand

    def errand(self) -> Errand | None:
        """What ComfyUI-Manager was asked for last."""
        return self._errand

    def _step(self, step: Step, finding: Finding) -> dict[str, Any]:
        size = finding.size or 0
        whole = finding.good or (size > 0 and step.entry.size is None and self._sizes.get(step.path) == size)
        self._sizes[step.path] = size
        return {
            "model": step.entry.id,
            "urls": list(step.urls),
            "page": step.page,
            "path": step.path,
            "folder": str(Path(step.path).parent),
            "size": step.entry.size,
            "present": size if finding.state is not State.MISSING else 0,
            "arrived": whole,
            "state": finding.state.value,
            "why": finding.why,
        }


def finding_data(item: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    return {
        "model": item.entry.id,
        "state": item.state.value,
        "required": item.required,
        "bad": item.bad,
        "path": item.path,
        "size": item.size,
        "expected_size": item.entry.size,
        "why": item.why,
    }


def plan_data(made: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "bytes": made.total,
        "unknown_sizes": made.unknown,
        "fetch": [
            {"model": i.entry.id, "target": i.target, "size": i.entry.size, "urls": list(i.entry.urls)}
            for i in made.fetch
        ],
        "blocked": [
            {"model": i.entry.id, "required": i.required, "code": i.code, "message": i.message, "hint": i.hint}
            for i in made.blocked
        ],
        "good": len(made.good),
        "optional": [item.entry.id for item in made.optional],
    }


def choice(models: Sequence[str], groups: Sequence[str], *, optional: bool) -> Choice:
    """What a request means."""
    return Choice(tuple(models), tuple(groups), optional=optional)
