"""Workflow classes that others wrote: found in files and in installed packages, each failure kept to itself."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow

GROUP = "comfyops.workflows"
"""The entry point group that packages use to offer workflows."""

Found = tuple[dict[str, type[BaseAdvancedWorkflow]], dict[str, str]]
"""Classes by the place they come from, and problems by place, in words."""


def workflow_classes(folders: Iterable[Path]) -> Found:
    """Every concrete workflow class that a `*_workflow.py` below the folders defines itself. Executes those files."""
    found: dict[str, type[BaseAdvancedWorkflow]] = {}
    problems: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            problems[str(folder)] = "it is no folder"
            continue
        for path in sorted(folder.rglob("*_workflow.py")):
            try:
                module = _load(path)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
                problems[str(path)] = f"{type(error).__name__}: {error}"
                continue
            found |= {f"{path}:{item.__name__}": item for item in _defined(module)}
    return found, problems


def installed_classes() -> Found:
    """The workflow classes that installed packages offer as entry points."""
    found: dict[str, type[BaseAdvancedWorkflow]] = {}
    problems: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        place = f"{point.name} = {point.value}"
        try:
            offered = point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            problems[place] = f"{type(error).__name__}: {error}"
            continue
        if inspect.isclass(offered) and issubclass(offered, BaseAdvancedWorkflow):
            found[place] = offered
        else:
            problems[place] = "it is no subclass of BaseAdvancedWorkflow"
    return found, problems


def _load(path: Path) -> ModuleType:
    name = f"comfyops_found_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _defined(module: ModuleType) -> list[type[BaseAdvancedWorkflow]]:
    return [
        item
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, BaseAdvancedWorkflow)
        and item.__module__ == module.__name__
        and not inspect.isabstract(item)
    ]
