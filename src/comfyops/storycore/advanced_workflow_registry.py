"""StoryCore's `advanced_workflow_registry`: which workflows there are, and what they can do."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from comfyops.errors import UsageError
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, named_capabilities
from comfyops.storycore.discovery import installed_classes, workflow_classes
from comfyops.storycore.workflow_values import WorkflowCapability, WorkflowType, WorkflowValidationError, to_capability

log = logging.getLogger(__name__)


class AdvancedWorkflowRegistry:
    """Workflow classes by category and name. A workflow's key is `category/name`."""

    def __init__(self) -> None:
        self._classes: dict[str, type[BaseAdvancedWorkflow]] = {}
        self._instances: dict[str, BaseAdvancedWorkflow] = {}
        self._problems: dict[str, str] = {}

    def register_workflow(self, category: str, name: str, workflow_class: type[BaseAdvancedWorkflow]) -> bool:
        """Add a class, or replace the one of that name (with a warning in the log).

        Raises UsageError for what is no workflow class, WorkflowValidationError for an unknown category or capability.
        """
        kind = WorkflowType.of(category)
        if not (inspect.isclass(workflow_class) and issubclass(workflow_class, BaseAdvancedWorkflow)):
            raise UsageError(f"{workflow_class!r} is no subclass of BaseAdvancedWorkflow.")
        if inspect.isabstract(workflow_class):
            raise UsageError(f"{workflow_class.__name__} is abstract: it has no execute().")
        if not name or "/" in name:
            raise UsageError(f"A workflow cannot be named {name!r}.")
        declared = workflow_class.capabilities
        if not isinstance(declared, property):
            named_capabilities(declared, kind)
        key = f"{kind}/{name}"
        if key in self._classes and self._classes[key] is not workflow_class:
            log.warning("The workflow %s is replaced by %s.", key, workflow_class.__name__)
            self._instances.pop(key, None)
        self._classes[key] = workflow_class
        return True

    def get_workflow_class(self, category: str, name: str) -> type[BaseAdvancedWorkflow] | None:
        """The class, None where there is none."""
        return self._classes.get(f"{WorkflowType.of(category)}/{name}")

    def get_workflow_instance(
        self, category: str, name: str, config: Mapping[str, Any] | None = None
    ) -> BaseAdvancedWorkflow | None:
        """The one instance of a workflow, made when it is first asked for; None where there is no such workflow.

        With a `config`, a new one that is not kept.
        """
        key = f"{WorkflowType.of(category)}/{name}"
        if key not in self._classes:
            return None
        if config is not None:
            return self._classes[key](name, key.split("/", 1)[0], config)
        return self.instance(key)

    def instance(self, key: str) -> BaseAdvancedWorkflow:
        """The instance of a key. Raises UsageError where there is no such workflow."""
        if key not in self._classes:
            raise UsageError(f"There is no workflow {key!r}.", hint=f"There are: {', '.join(self._classes) or 'none'}.")
        if key not in self._instances:
            category, name = key.split("/", 1)
            self._instances[key] = self._classes[key](name, category)
        return self._instances[key]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every workflow's key, in the order of registration."""
        return tuple(self._classes)

    def list_available_workflows(self) -> dict[str, list[str]]:
        """Names by category."""
        listed: dict[str, list[str]] = {kind.value: [] for kind in WorkflowType}
        for key in self._classes:
            category, name = key.split("/", 1)
            listed[category].append(name)
        return listed

    def capabilities_of(self, key: str) -> frozenset[WorkflowCapability]:
        """What a workflow can do, read from its class; a class that only says it as a property is made one of.

        A class that fails at that has none, and `validate_registry` says why.
        """
        declared = self._classes[key].capabilities
        kind = WorkflowType(key.split("/", 1)[0])
        try:
            if isinstance(declared, property):
                declared = self.instance(key).capabilities
            return named_capabilities(declared, kind)
        except Exception as error:  # noqa: BLE001 - code of others; one bad workflow must not take the rest along
            self._problems[key] = f"its capabilities cannot be read: {error}"
            return frozenset()

    def get_workflows_by_capability(self, capability: WorkflowCapability | str) -> list[str]:
        """Keys of the workflows that have a capability. INPAINTING means both kinds of it."""
        found = []
        for key in self._classes:
            wanted = to_capability(capability, WorkflowType(key.split("/", 1)[0]))
            if wanted in self.capabilities_of(key):
                found.append(key)
        return found

    def discover_workflows(self, paths: Iterable[str | Path]) -> int:
        """Register the workflows in every `*_workflow.py` below these folders; how many there were.

        The files are executed, so name only folders that you trust. A file that fails is left out and told of in
        `get_registry_status`.
        """
        found, problems = workflow_classes([Path(path) for path in paths])
        return self._add(found, problems)

    def discover_installed(self) -> int:
        """Register what installed packages offer as entry points of the group `comfyops.workflows`."""
        return self._add(*installed_classes())

    def get_registry_status(self) -> dict[str, Any]:
        """Counts, names, capabilities, and the problems met at discovery."""
        return {
            "total_workflows": len(self._classes),
            "instantiated_workflows": len(self._instances),
            "workflows": self.list_available_workflows(),
            "capabilities": {key: sorted(self.capabilities_of(key)) for key in self._classes},
            "problems": dict(self._problems),
        }

    def validate_registry(self) -> dict[str, list[str]]:
        """`errors` and `warnings` in words; both empty where all is well."""
        empty = [f"{key} has no capability." for key in self._classes if not self.capabilities_of(key)]
        errors = [f"{place}: {problem}" for place, problem in self._problems.items()]
        return {"errors": errors, "warnings": empty}

    async def cleanup_instances(self) -> None:
        """Let every instance go of its models, and forget the instances."""
        instances, self._instances = list(self._instances.values()), {}
        for instance in instances:
            try:
                await instance.unload_models()
            except Exception:  # code of others; the rest must still be unloaded
                log.exception("%s failed to unload its models.", instance.name)

    def _add(self, found: Mapping[str, type[BaseAdvancedWorkflow]], problems: Mapping[str, str]) -> int:
        self._problems |= problems
        count = 0
        for place, workflow in found.items():
            try:
                count += self.register_workflow(workflow.workflow_category, name_of(workflow), workflow)
            except (UsageError, WorkflowValidationError) as error:
                self._problems[place] = error.message
        return count


def name_of(workflow: type[BaseAdvancedWorkflow]) -> str:
    """The name a class gives itself, else the class's own: `WanVideoWorkflow` is wan_video."""
    words = re.sub(r"Workflow$", "", workflow.__name__) or workflow.__name__
    return workflow.workflow_name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words).lower()


_GLOBAL = AdvancedWorkflowRegistry()


def get_global_registry() -> AdvancedWorkflowRegistry:
    """The registry of this process, which the global manager uses."""
    return _GLOBAL


def register_workflow(category: str, name: str, workflow_class: type[BaseAdvancedWorkflow]) -> bool:
    """Register in the registry of this process."""
    return _GLOBAL.register_workflow(category, name, workflow_class)


def get_workflow(category: str, name: str) -> BaseAdvancedWorkflow | None:
    """An instance from the registry of this process."""
    return _GLOBAL.get_workflow_instance(category, name)
