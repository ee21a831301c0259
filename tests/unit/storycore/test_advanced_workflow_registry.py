from __future__ import annotations

import sys

import pytest

from comfyops.errors import UsageError
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, WorkflowCapability, WorkflowResult
from comfyops.storycore.advanced_workflow_registry import AdvancedWorkflowRegistry, name_of
from tests.unit.storycore.flows import Sampling

SOUND = """
from comfyops.storycore.advanced_workflow_base import BaseAdvancedWorkflow, WorkflowResult

class SketchWorkflow(BaseAdvancedWorkflow):
    workflow_category = "image"
    capabilities = ["TEXT_TO_IMAGE"]
    async def execute(self, request):
        return WorkflowResult(True, metadata={"engine": "sketch"})

class Abstract(BaseAdvancedWorkflow):
    pass
"""


class Unmakeable(Sampling):
    """Cannot be made: its capabilities must be known without that."""

    def __init__(self, *args, **kwargs):
        raise AssertionError("made")


class ByProperty(Sampling):
    """Says what it can do as the originals did."""

    @property
    def capabilities(self):
        return [WorkflowCapability.ALPHA_VIDEO]


class Broken(Sampling):
    @property
    def capabilities(self):
        raise RuntimeError("no idea")


@pytest.fixture
def registry():
    return AdvancedWorkflowRegistry()


def test_capabilities_are_known_without_making_an_instance(registry):
    assert registry.register_workflow(category="video", name="one", workflow_class=Unmakeable)
    assert registry.get_workflows_by_capability("TEXT_TO_VIDEO") == ["video/one"]
    assert registry.get_workflow_class("video", "one") is Unmakeable
    assert registry.get_registry_status()["instantiated_workflows"] == 0


def test_positional_and_keyword_registration_are_the_same(registry):
    assert registry.register_workflow("video", "a", Sampling) is True
    assert registry.register_workflow(category="video", name="b", workflow_class=Sampling) is True
    assert registry.list_available_workflows() == {"video": ["a", "b"], "image": []}


def test_capabilities_may_be_a_property_and_a_broken_one_harms_only_itself(registry):
    registry.register_workflow("video", "good", ByProperty)
    registry.register_workflow("video", "bad", Broken)
    assert registry.get_workflows_by_capability("ALPHA_VIDEO") == ["video/good"]
    assert any("no idea" in error for error in registry.validate_registry()["errors"])


def test_one_instance_is_kept_and_one_with_a_config_is_not(registry):
    registry.register_workflow("video", "a", Sampling)
    first = registry.get_workflow_instance("video", "a")
    assert registry.get_workflow_instance("video", "a") is first
    other = registry.get_workflow_instance("video", "a", {"x": 1})
    assert other is not first and other.config == {"x": 1}
    assert registry.get_workflow_instance("video", "gone") is None


def test_a_replaced_class_is_told_and_its_instance_forgotten(registry, caplog):
    registry.register_workflow("video", "a", Sampling)
    registry.instance("video/a")
    registry.register_workflow("video", "a", ByProperty)
    assert "video/a is replaced by ByProperty" in caplog.text
    assert type(registry.instance("video/a")) is ByProperty


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("a", BaseAdvancedWorkflow, "abstract"),
        ("a", dict, "no subclass"),
        ("a", "x", "no subclass"),
        ("", Sampling, "named"),
        ("a/b", Sampling, "named"),
    ],
)
def test_what_is_no_workflow_is_refused(registry, name, cls, message):
    with pytest.raises(UsageError, match=message):
        registry.register_workflow("video", name, cls)


def test_files_are_discovered_and_each_failure_stays_with_its_file(registry, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "sketch_workflow.py").write_text(SOUND)
    (tmp_path / "bad_workflow.py").write_text("import no_such_module_at_all")
    (tmp_path / "exit_workflow.py").write_text("raise SystemExit(3)")
    (tmp_path / "syntax_workflow.py").write_text("def (")
    (tmp_path / "other.py").write_text("raise AssertionError('never loaded')")
    assert registry.discover_workflows([tmp_path, tmp_path / "missing"]) == 1
    assert registry.list_available_workflows() == {"video": [], "image": ["sketch"]}
    problems = registry.get_registry_status()["problems"]
    assert {key.rsplit("/", 1)[-1] for key in problems} == {
        "bad_workflow.py",
        "exit_workflow.py",
        "syntax_workflow.py",
        "missing",
    }
    broken = {str(tmp_path / f"{name}_workflow.py") for name in ("bad", "exit", "syntax")}
    assert not [name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) in broken]


async def test_a_discovered_workflow_runs(registry, tmp_path):
    (tmp_path / "sketch_workflow.py").write_text(SOUND)
    registry.discover_workflows([tmp_path])
    result = await registry.instance("image/sketch").execute(None)
    assert isinstance(result, WorkflowResult) and result.success


def test_installed_packages_offer_workflows_by_entry_point(registry, tmp_path, monkeypatch):
    package = tmp_path / "offering-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[comfyops.workflows]\nflow = tests.unit.storycore.flows:Sampling\n"
        "gone = no_such_module_at_all:X\nwrong = json:loads\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.discover_installed() == 1
    assert registry.list_available_workflows()["video"] == ["sampling"]
    assert len(registry.get_registry_status()["problems"]) == 2


async def test_cleanup_unloads_every_instance(registry):
    unloaded = []

    class Unloading(Sampling):
        async def unload_models(self):
            unloaded.append(self.name)
            raise RuntimeError("never mind")

    registry.register_workflow("video", "a", Unloading)
    registry.register_workflow("video", "b", Unloading)
    registry.instance("video/a"), registry.instance("video/b")
    await registry.cleanup_instances()
    assert unloaded == ["a", "b"] and registry.get_registry_status()["instantiated_workflows"] == 0


def test_names_are_made_from_class_names():
    assert name_of(type("HunyuanVideoWorkflow", (Sampling,), {})) == "hunyuan_video"
    assert name_of(type("Workflow", (Sampling,), {})) == "workflow"
