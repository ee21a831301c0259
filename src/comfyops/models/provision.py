"""Models checked, planned, fetched and placed: the thin shell around `check`, `plan`, sources and transfers.

What sources said and what hashes were computed is remembered beside the models, so that nothing is asked or read twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from comfyops.errors import (
    DownloadError,
    IntegrityError,
    MissingFileError,
    ModelError,
    StorageError,
    UnsafeNameError,
    UpstreamChangedError,
)
from comfyops.models import check as checking
from comfyops.models import facts, formats, hashing, importing, lock, places, plan, stamps, upstream
from comfyops.models.catalog import Wanted
from comfyops.models.check import Finding, State
from comfyops.models.entry import ModelEntry
from comfyops.models.lock import Lock, Pin
from comfyops.models.plan import Blocked, Item, Plan
from comfyops.models.sources import Web
from comfyops.models.sources.folders import ModelFolders
from comfyops.models.sources.local import path_of
from comfyops.models.sources.located import Located
from comfyops.models.sources.peers import Peers
from comfyops.models.sources.web import offline_error
from comfyops.models.storage import Storage
from comfyops.models.transfer.engine import Transfers
from comfyops.models.transfer.progress import Meter, Reporter
from comfyops.models.transfer.request import DownloadProgress, FileRequest, FileResult, TransferSettings

Listener = Callable[[DownloadProgress], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one model. `how` is "fetched", "linked", "copied" or "kept" (its bytes were right already)."""

    entry: ModelEntry
    ok: bool
    path: str
    how: str = ""
    sha256: str | None = None
    downloaded_bytes: int = 0
    seconds: float = 0.0
    trust_on_first_use: bool = False
    code: str = ""
    message: str = ""
    hint: str = ""


@dataclass
class Provision:
    """Works on one storage. `pinned` is a lock that the models must match; `folders` and `peers` are looked into and
    asked before the internet.
    """

    storage: Storage
    web: Web
    transfer: TransferSettings = field(default_factory=TransferSettings)
    pinned: Lock = field(default_factory=Lock)
    allow_pickle: bool = False
    folders: ModelFolders = field(default_factory=ModelFolders)
    peers: Peers = field(default_factory=Peers)

    def __post_init__(self) -> None:
        self._located = Located(self.web)
        self.stamps = stamps.load(self.storage.stamps)
        self.remembered = lock.remembered(self.storage.known)
        self._recalled: dict[str, ModelEntry] = {}

    def check(
        self,
        wanted: Sequence[Wanted],
        *,
        deep: bool = False,
        on_progress: hashing.Listener | None = None,
        rate: int | None = None,
    ) -> tuple[Finding, ...]:
        """Look at the models, asking nobody; see `models.check.check`. What was hashed stays known if interrupted."""
        known = [replace(item, entry=self._known(item.entry)) for item in wanted]
        try:
            return checking.check(known, self.storage, self.stamps, deep=deep, on_progress=on_progress, rate=rate)
        finally:
            self.stamps.save()

    def plan(self, findings: Sequence[Finding], *, force: bool = False, ask: bool = True) -> Plan:
        """What is to be fetched. With `ask` the sources of files whose size or hash is not known are asked.

        What cannot be had is among the plan's `blocked`; nothing is raised for it.
        """
        chosen = plan.wanted(findings, force=force)
        targets: dict[str, str] = {}
        blocked = [_unreadable(item) for item in findings if item.bad and item.state is State.UNREADABLE]
        for item in chosen:
            try:
                targets[item.entry.id] = str(self.storage.target(item.entry))
                _sourced(item)
            except (ModelError, UnsafeNameError) as error:
                blocked.append(_blocked(item, error))
        answers = {item.entry.id: item for item in self._answers(chosen)} if ask else {}
        self._remember({key: item.pin for key, item in answers.items() if item.pin})
        for answer in answers.values():
            if answer.remote is not None:
                self._located.learn(answer.remote)
        blocked += [
            _blocked(item, answers[item.entry.id].error)
            for item in chosen
            if item.entry.id in answers and answers[item.entry.id].error is not None
        ]
        known = {key: item.entry for key, item in answers.items()}
        return plan.planned(findings, targets, known, blocked, force=force)

    def fetch(
        self,
        items: Sequence[Item],
        on_progress: Listener | None = None,
        on_ready: Callable[[Transfers], None] | None = None,
    ) -> tuple[Outcome, ...]:
        """Have every file of a plan in its place; outcomes come in the plan's order, nothing is raised for one file.

        `on_ready` gets what steers the transfers, when they begin; their names are the models' ids.
        Raises NotWritableError, DiskFullError, StorageError where the whole cannot be done.
        """
        if items:
            places.check_writable(self.storage.root, self.storage.shown)
        done = {item.entry.id: outcome for item in items if (outcome := self._from_here(item, on_progress)) is not None}
        rest = [item for item in items if item.entry.id not in done]
        near = self._near([item.entry for item in rest])
        requests = []
        for item in rest:
            request = self._request(item, near.get(item.entry.id, ()))
            if request.urls or not self.web.offline:
                requests.append(request)
            else:
                done[item.entry.id] = _failed(item, offline_error())
        by_name = {item.entry.id: item for item in rest}
        transfers = Transfers(replace(self.transfer, locate=self._located), on_ready)
        for result in transfers.run(requests, on_progress) if requests else ():
            done[result.request.name] = self._outcome(by_name[result.request.name], result)
        self.stamps.save()
        return tuple(done[item.entry.id] for item in items)

    def _known(self, entry: ModelEntry) -> ModelEntry:
        """The entry with what a lock demands, or else with what its source said before."""
        if entry.id in self.pinned.pins:
            return self.pinned.pinned(entry)
        pin = self.remembered.pins.get(entry.id)
        if pin is None or (entry.urls and pin.url not in entry.urls) or entry.contradicts(pin.size, pin.sha256):
            return entry
        if pin.said_by != "bytes" and (entry.size is None or entry.sha256 is None):
            self._recalled[entry.id] = entry
        return entry.with_facts(pin.size, pin.sha256)

    def _answers(self, findings: Sequence[Finding]) -> tuple[facts.Answered, ...]:
        """What sources say of the models that nobody has promised anything of. What they said before is no promise: it
        is asked anew where a file is to be fetched, and counts where no source answers.
        """
        asked = [self._recalled.get(item.entry.id, item.entry) for item in findings]
        unknown = [entry for entry in asked if entry.urls and (entry.size is None or entry.sha256 is None)]
        answers = facts.ask(unknown, self.web)
        silent = {item.entry.id for item in answers if isinstance(item.error, DownloadError)}
        return tuple(item for item in answers if item.entry.id not in silent & self._recalled.keys())

    def _remember(self, pins: dict[str, Pin]) -> None:
        if not pins:
            return
        self.remembered = lock.remembered(self.storage.known).with_pins(pins)  # others may have written meanwhile
        try:
            lock.save(self.remembered, self.storage.known)
        except StorageError:  # a folder that cannot be written: the source is asked again next time
            return

    def _from_here(self, item: Item, on_progress: Listener | None) -> Outcome | None:
        """The model out of a file of this machine: in another folder of models, at a file address, or on a share."""
        local = [path_of(url) for url in item.entry.urls if url.startswith("file:")]
        local += self.folders.find(item.entry)
        if item.state is State.MISPLACED and item.entry.sha256 is not None:
            other = self.storage.elsewhere(item.entry)
            local = [other, *local] if other else local
        problem: ModelError | None = None
        for path in local:
            try:
                placed = self._placed(path, item, on_progress)
            except (IntegrityError, MissingFileError) as error:
                problem = problem or _of_file(path, item.entry, error)
                continue
            except ModelError as error:
                return _failed(item, error)
            return self._from_file(item, placed)
        only = item.entry.urls and all(url.startswith("file:") for url in item.entry.urls)
        return _failed(item, problem) if only and problem is not None else None

    def _placed(self, path: Path, item: Item, on_progress: Listener | None) -> importing.Placed:
        """Put a file of this machine in a model's place, and tell how far it is."""
        copied = 0
        meter = Meter(item.entry.id, item.entry.size or 0, present=lambda: copied, network=lambda: copied)

        def count(size: int) -> None:
            nonlocal copied
            meter.status = "downloading"
            copied += size

        with Reporter([meter], on_progress, threading.Event()):
            placed = importing.place(
                path, item.entry, self.storage, self.stamps, allow_pickle=self.allow_pickle, copied=count
            )
            copied, meter.total, meter.status = placed.size, placed.size, "completed"
        return placed

    def _from_file(self, item: Item, placed: importing.Placed) -> Outcome:
        unproven = item.entry.sha256 is None
        if unproven and item.entry.urls:
            pin = Pin(item.entry.urls[0], placed.size, placed.sha256, said_by="bytes", at=lock.now())
            self._remember({item.entry.id: pin})
        how = "linked" if placed.linked else "copied"
        return Outcome(item.entry, True, placed.path, how, placed.sha256, trust_on_first_use=unproven)

    def _near(self, entries: Sequence[ModelEntry]) -> dict[str, tuple[str, ...]]:
        """The addresses of models at peers, by the models' ids."""
        found = self.peers.holding(entries, self.web)
        for remotes in found.values():
            for remote in remotes:
                self._located.learn(remote)
        return {key: tuple(remote.url for remote in remotes) for key, remotes in found.items()}

    def _request(self, item: Item, near: tuple[str, ...]) -> FileRequest:
        """What is asked of the transfers. Peers come first where a hash proves what they send, else last."""
        entry = item.entry
        far = () if self.web.offline else tuple(url for url in entry.urls if not url.startswith("file:"))
        rewritten = tuple(self.web.rewritten(url) for url in far)
        urls = (*near, *rewritten) if entry.sha256 else (*rewritten, *near)
        check = formats.checker(entry.file, allow_pickle=self.allow_pickle)
        measure = formats.measurer(entry.file)
        return FileRequest(entry.id, Path(item.target), urls, entry.size, entry.sha256, check=check, measure=measure)

    def _outcome(self, item: Item, result: FileResult) -> Outcome:
        known = self.pinned.pins.get(item.entry.id) or self.remembered.pins.get(item.entry.id)
        revision = known.revision if known else None
        if not result.ok or result.sha256 is None:
            error: Exception | None = result.error
            if isinstance(result.error, IntegrityError):
                error = upstream.explained(item.entry, result.error, revision, self.web)
            return _failed(item, error)
        target = Path(item.target)
        self.stamps.remember(target, target.stat(), result.sha256)
        if result.trust_on_first_use:
            pin = Pin(item.entry.urls[0], result.size, result.sha256, revision, said_by="bytes", at=lock.now())
            self._remember({item.entry.id: pin})
        return Outcome(
            item.entry,
            True,
            str(target),
            "fetched" if result.downloaded_bytes else "kept",
            result.sha256,
            result.downloaded_bytes,
            result.seconds,
            result.trust_on_first_use,
        )


def _of_file(path: Path, entry: ModelEntry, error: Exception) -> ModelError:
    """What is wrong with a file of this machine that should have been the model."""
    if isinstance(error, IntegrityError):
        return UpstreamChangedError(f"Upstream changed: {path} is now another file than the pinned {entry.id}.")
    return DownloadError(f"{path} is not there.", path=str(path))


def _sourced(item: Finding) -> None:
    if not item.entry.urls and item.state is not State.MISPLACED:
        words = f"No address is known for {item.entry.id}."
        raise DownloadError(words, hint="Put the file there yourself, or give its address with `comfyops models add`.")


def _unreadable(item: Finding) -> Blocked:
    words = f"What is in the place of {item.entry.id} cannot be read{': ' + item.why if item.why else '.'}"
    hint = "See its permissions and where its links lead, or move it away."
    return Blocked(item.entry, item.required, StorageError.code, words, hint)


def _blocked(item: Finding, error: Exception | None) -> Blocked:
    return Blocked(item.entry, item.required, *_said(error))


def _failed(item: Item, error: Exception | None) -> Outcome:
    code, message, hint = _said(error)
    return Outcome(item.entry, False, item.target, code=code, message=message, hint=hint)


def _said(error: Exception | None) -> tuple[str, str, str]:
    code, hint = getattr(error, "code", "download"), getattr(error, "hint", "")
    return code, str(error or "It did not come."), hint
