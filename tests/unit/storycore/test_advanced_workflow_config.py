from __future__ import annotations

import pytest

from comfyops.errors import InputError, NotJsonError, UsageError
from comfyops.storycore.advanced_workflow_base import WorkflowRequest
from comfyops.storycore.advanced_workflow_config import PRESETS, AdvancedWorkflowConfig, QualityLevel
from comfyops.storycore.executions import with_level


def test_the_documented_defaults():
    config = AdvancedWorkflowConfig()
    assert (config.schema_version, config.environment, config.log_level) == ("1.0", "local", "INFO")
    assert (config.max_memory_usage_gb, config.gpu_memory_fraction, config.num_workers) == (20.0, 0.9, 1)
    assert (config.auto_retry_on_failure, config.max_retries, config.fallback_to_basic) == (True, 3, True)
    assert config.validate() == {} and config.at_once == 1
    assert [(item.steps, item.cfg_scale, item.threshold) for item in PRESETS.values()] == [
        (10, 3.0, 0.6),
        (20, 5.0, 0.8),
        (35, 7.0, 0.9),
        (50, 9.0, 0.95),
    ]


def test_settings_survive_a_file_and_nothing_is_written_by_reading(tmp_path):
    config = AdvancedWorkflowConfig(num_workers=3, parallel_execution=True, quality_level=QualityLevel.HIGH)
    config.save_to_file(tmp_path / "sub" / "advanced_workflows.yaml")
    assert AdvancedWorkflowConfig.from_file(tmp_path / "sub" / "advanced_workflows.yaml") == config
    assert config.at_once == 3
    assert [path.name for path in tmp_path.rglob("*")] == ["sub", "advanced_workflows.yaml"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("num_worker: 2", UsageError, "did you mean num_workers"),
        ("num_workers: many", UsageError, "num_workers is wrong"),
        ("num_workers: true", UsageError, "num_workers is wrong"),
        ("num_workers: 0", UsageError, "at least 1"),
        ("enable_wan: perhaps", UsageError, "enable_wan is wrong"),
        ("quality_level: best", UsageError, "quality_level is wrong"),
        ("gpu_memory_fraction: 2", UsageError, "at most 1"),
        ("wan_config: 7", UsageError, "wan_config is wrong"),
        ("- a\n- b", InputError, "holds no settings"),
        ("a: [", NotJsonError, "no YAML"),
        ("\x00", NotJsonError, "no YAML"),
    ],
)
def test_wrong_files_are_told_in_one_sentence(tmp_path, text, error, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(error, match=message):
        AdvancedWorkflowConfig.from_file(tmp_path / "config.yaml")


def test_words_of_people_are_understood(tmp_path):
    (tmp_path / "config.yaml").write_text("enable_wan: 'off'\nquality_level: HIGH\nmax_retries: '5'\n")
    config = AdvancedWorkflowConfig.from_file(tmp_path / "config.yaml")
    assert (config.enable_wan, config.quality_level, config.max_retries) == (False, QualityLevel.HIGH, 5)


def test_a_level_gives_steps_only_where_the_request_names_none():
    plain = WorkflowRequest("x", parameters={"steps": 7})
    assert with_level(plain, QualityLevel.STANDARD) is plain
    assert with_level(plain, QualityLevel.HIGH).parameters == {"steps": 7, "cfg_scale": 7.0}
    assert with_level(WorkflowRequest("x"), QualityLevel.DRAFT).parameters == {"steps": 10, "cfg_scale": 3.0}


def test_the_environment_goes_before_the_file(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("num_workers: 2\nmax_retries: 5\n")
    monkeypatch.setenv("STORYCORE_NUM_WORKERS", "7")
    monkeypatch.setenv("STORYCORE_PARALLEL_EXECUTION", "true")
    monkeypatch.setenv("STORYCORE_SOMETHING_ELSE", "x")
    config = AdvancedWorkflowConfig.load(tmp_path / "config.yaml")
    assert (config.num_workers, config.max_retries, config.at_once) == (7, 5, 7)
    monkeypatch.setenv("STORYCORE_NUM_WORKERS", "many")
    with pytest.raises(UsageError, match="num_workers is wrong"):
        AdvancedWorkflowConfig.load()
