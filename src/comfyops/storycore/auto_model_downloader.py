"""`auto_model_downloader`, as StoryCore's page on models documents it: a thin doorway to `comfyops models`.

    downloader = AutoModelDownloader()                   # or AutoModelDownloader("/path/to/ComfyUI")
    asyncio.run(downloader.check_and_download_models())  # {"flux2-vae.safetensors": True, ...}

More models: override `_get_required_models`, as the page shows. `python -m comfyops.storycore.auto_model_downloader`
takes the page's `--check-only` and `--comfyui-path`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comfyops import app, config
from comfyops.errors import ComfyOpsError
from comfyops.models import entry as entries
from comfyops.models.catalog import DEFAULT_GROUP, Wanted
from comfyops.models.check import Finding
from comfyops.models.provision import Outcome, Provision

_MB = 1024 * 1024


@dataclass(frozen=True)
class ModelInfo:
    """A model as the page writes it. `expected_size_mb` is a rough size for people; exact bytes, where the catalog or
    the source knows them, are what is checked. `subfolder` is a folder of ComfyUI's models.
    """

    name: str
    url: str
    subfolder: str
    expected_size_mb: float
    required: bool = True
    sha256: str | None = None


class AutoModelDownloader:
    """Checks and fetches the models of one ComfyUI (the one that is found where no path is given)."""

    def __init__(self, comfyui_path: str | Path | None = None, *, models_dir: str | Path | None = None) -> None:
        options = {"comfyui_path": comfyui_path, "models_dir": models_dir}
        self._settings = config.override(config.load(), **{key: value and str(value) for key, value in options.items()})

    def _get_required_models(self) -> list[ModelInfo]:
        """The documented models, with their true names, folders and sizes; override it to have others."""
        catalog = app.model_catalog(self._settings)
        return [_info(item) for item in catalog.members(DEFAULT_GROUP)]

    def check_models(self) -> dict[str, bool]:
        """Name -> whether it is there and right. Nothing is fetched.

        Raises MissingFileError where there is no ComfyUI, CatalogError for a model that makes no sense.
        """
        return {item.entry.file: item.good for item in self._findings(self._provision())}

    async def check_and_download_models(self) -> dict[str, bool]:
        """Fetch what is required and missing, or wrong; name -> whether it is there and right afterwards.

        Raises what `check_models` raises, and StorageError, DiskFullError.
        """
        return await asyncio.to_thread(self.download)

    def download(self, *, include_optional: bool = False) -> dict[str, bool]:
        """`check_and_download_models`, blocking."""
        provision = self._provision()
        findings = self._findings(provision)
        if include_optional:
            findings = tuple(replace(item, required=True) for item in findings)
        self.outcomes: tuple[Outcome, ...] = provision.fetch(provision.plan(findings).fetch)
        done = {outcome.entry.id: outcome.ok for outcome in self.outcomes}
        return {item.entry.file: done.get(item.entry.id, item.good) for item in findings}

    def _provision(self) -> Provision:
        return app.model_provision(app.model_storage(self._settings), self._settings)

    def _findings(self, provision: Provision) -> tuple[Finding, ...]:
        known = app.model_catalog(self._settings).models
        wanted = []
        for info in self._get_required_models():
            data = {"file": info.name, "folder": info.subfolder, "url": info.url, "sha256": info.sha256}
            entry = entries.parse(data, info.name)
            same = known.get(entry.id)
            if same is not None and entry.urls[0] in same.urls:
                entry = entries.merged(entry, same)
            wanted.append(Wanted(entry, info.required))
        return provision.check(wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """The page's command; 0 where everything required is there afterwards."""
    parser = argparse.ArgumentParser(prog="auto_model_downloader", description=__doc__.splitlines()[0])
    parser.add_argument("--check-only", action="store_true", help="fetch nothing")
    parser.add_argument("--comfyui-path", help="folder of ComfyUI, else it is searched for")
    chosen = parser.parse_args(arguments)
    try:
        downloader = AutoModelDownloader(chosen.comfyui_path)
        found = downloader.check_models() if chosen.check_only else downloader.download()
        required = {info.name for info in downloader._get_required_models() if info.required}
    except ComfyOpsError as error:
        sys.stderr.write(f"error ({error.code}): {error.message}\n  hint: {error.hint}\n")
        return 1
    for name, good in found.items():
        sys.stdout.write(f"{'ok' if good else 'missing' if name in required else 'optional':9} {name}\n")
    return 0 if all(found[name] for name in required) else 1


def _info(item: Wanted) -> ModelInfo:
    entry = item.entry
    size = (entry.size or 0) / _MB
    return ModelInfo(entry.file, entry.urls[0], entry.folder, round(size), item.required, entry.sha256)


if __name__ == "__main__":
    sys.exit(main())
