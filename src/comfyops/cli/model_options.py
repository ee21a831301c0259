"""Options that the commands for models share, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from comfyops import app as parts
from comfyops.cli.options import settings
from comfyops.cli.output import show, talk
from comfyops.errors import MissingFileError, UsageError
from comfyops.models import lock as locks
from comfyops.models.catalog import Catalog, Choice, Wanted
from comfyops.models.progress_log import ProgressLog
from comfyops.models.storage import Storage

if TYPE_CHECKING:
    from comfyops.config import Settings
    from comfyops.models.provision import Listener, Provision
    from comfyops.models.transfer.request import DownloadProgress

ComfyUIPath = Annotated[
    str | None, typer.Option("--comfyui-path", help="Folder of ComfyUI, else COMFYOPS_COMFYUI_PATH, else searched for.")
]
ModelsDir = Annotated[
    str | None, typer.Option("--models-dir", help="Folder of models; no ComfyUI is needed around it.")
]
Names = Annotated[list[str] | None, typer.Argument(help="Models, by name, file or folder/file.", metavar="[MODEL...]")]
Model = Annotated[list[str] | None, typer.Option("--model", "-m", help="A model, as in MODEL.")]
Group = Annotated[list[str] | None, typer.Option("--group", "-g", help="A set, or an official template, by name.")]
All = Annotated[bool, typer.Option("--all", help="Every model of the catalogs.")]
Optional = Annotated[bool, typer.Option("--include-optional", help="Optional models of a group too.")]
CatalogFiles = Annotated[list[Path] | None, typer.Option("--catalog", help="Catalog of your own, in YAML or JSON.")]
LockFile = Annotated[Path | None, typer.Option("--lock", help="Lock file that the models must match.")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Take pickles that cannot be shown to be harmless.")]

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?(?:/s)?", re.IGNORECASE)


@dataclass(frozen=True)
class Session:
    """What a command for models works on."""

    settings: Settings
    catalog: Catalog
    storage: Storage
    provision: Provision

    def wanted(self, choice: Choice) -> tuple[Wanted, ...]:
        """The models that a choice means; those of the lock where a lock and no choice is given."""
        pins = self.provision.pinned.pins
        if pins and not (choice.models or choice.groups or choice.everything):
            known = self.catalog.models
            return tuple(Wanted(known.get(key) or locks.entry_of(key, pin)) for key, pin in pins.items())
        return self.catalog.chosen(choice)


def choice(
    names: Sequence[str] | None,
    models: Sequence[str] | None,
    groups: Sequence[str] | None,
    *,
    everything: bool = False,
    optional: bool = False,
) -> Choice:
    """The choice that a command's arguments and options make."""
    return Choice((*(names or ()), *(models or ())), tuple(groups or ()), everything, optional)


def opened(
    comfyui_path: str | None,
    models_dir: str | None,
    catalog: Sequence[Path] | None = None,
    lock: Path | None = None,
    *,
    allow_pickle: bool = False,
    max_workers: int | None = None,
    limit_rate: str | None = None,
) -> Session:
    """What a command's options name.

    Raises UsageError, MissingFileError, CatalogError and what else is wrong with what they name.
    """
    if comfyui_path is not None and models_dir is not None:
        raise UsageError("Give either --comfyui-path or --models-dir.")
    chosen = settings(comfyui_path=comfyui_path, models_dir=models_dir)
    if comfyui_path is not None:  # an option goes before the other one's variable
        chosen = chosen.model_copy(update={"models_dir": None})
    known = parts.model_catalog(chosen, catalog or ())
    storage = parts.model_storage(chosen)
    if storage.root.exists() and not storage.root.is_dir():
        raise MissingFileError(f"{storage.root} is a file, not a folder of models.", path=str(storage.root))
    provision = parts.model_provision(storage, chosen, allow_pickle=allow_pickle)
    if lock is not None:
        provision.pinned = locks.load(lock)
    transfer = replace(provision.transfer, limit_rate=rate(limit_rate) if limit_rate else None)
    if max_workers is not None:
        transfer = replace(transfer, connections=max_workers, per_file=max_workers, files=min(4, max_workers))
    provision.transfer = transfer
    return Session(chosen, known, provision.storage, provision)


def rate(text: str) -> int:
    """Bytes per second of "500K", "10M" or "1.5G" (1024 each, as in curl).

    Raises UsageError.
    """
    found = _RATE.fullmatch(text.strip())
    value = int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " ")) if found else 0
    if value <= 0:
        raise UsageError(f"{text[:40]!r} is no rate.", hint="It looks like 500K or 10M, in bytes per second.")
    return value


@contextmanager
def fetching(total: int, *, quiet: bool) -> Iterator[Listener]:
    """Show downloads until the block is left: bars on a terminal, a line at each file's end elsewhere; and log them."""
    logged = ProgressLog()
    if quiet or not talk().is_terminal:
        yield _both(logged, None if quiet else _Lines())
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=talk(), transient=True) as bars:
        yield _both(logged, _Bars(bars, total))


def _both(logged: ProgressLog, shown: Listener | None) -> Listener:
    def listen(progress: DownloadProgress) -> None:
        logged(progress)
        if shown is not None:
            shown(progress)

    return listen


class _Lines:
    """Says when a file begins and when it ends."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __call__(self, progress: DownloadProgress) -> None:
        name, status = progress.model_name, progress.status
        if self._said.get(name) != status and status in ("downloading", "completed", "failed"):
            self._said[name] = status
            show(f"{status}: {escape(name)}")


class _Bars:
    """One bar over all files, and one for each that is being fetched."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._all = bars.add_task("all", total=total or None)
        self._tasks: dict[str, TaskID] = {}
        self._bytes: dict[str, int] = {}

    def __call__(self, progress: DownloadProgress) -> None:
        name = progress.model_name
        self._bytes[name] = progress.downloaded_bytes
        self._bars.update(self._all, completed=sum(self._bytes.values()))
        if progress.status in ("completed", "failed"):
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            return
        if name not in self._tasks and progress.status == "downloading":
            self._tasks[name] = self._bars.add_task(escape(name), total=progress.total_bytes or None)
        if name in self._tasks:
            self._bars.update(
                self._tasks[name], completed=progress.downloaded_bytes, total=progress.total_bytes or None
            )
