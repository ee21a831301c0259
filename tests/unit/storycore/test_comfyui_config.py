from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.errors import InputError, UsageError
from comfyops.storycore import ComfyUIConfig, ControlNetConfig, IPAdapterConfig


def test_the_documented_defaults():
    config = ComfyUIConfig.default()
    assert config.to_dict() | {"installation_path": ""} == {
        "installation_path": "",
        "server_host": "127.0.0.1",
        "server_port": 8188,
        "startup_timeout": 60.0,
        "health_check_interval": 5.0,
        "max_retry_attempts": 3,
        "process_timeout": 300.0,
        "graceful_shutdown_timeout": 30.0,
        "force_kill_timeout": 10.0,
        "enable_gpu": True,
        "memory_limit_gb": None,
        "worker_threads": 1,
        "log_level": "INFO",
        "enable_metrics": True,
        "metrics_interval": 10.0,
    }
    assert config.server_url == "http://127.0.0.1:8188" and config.websocket_url == "ws://127.0.0.1:8188/ws"
    assert ControlNetConfig("x") == ControlNetConfig("x", strength=1.0, preprocessing=True, control_image_path=None)
    assert IPAdapterConfig("x", "y") == IPAdapterConfig("x", "y", weight=0.7, noise=0.0)


def test_a_configuration_survives_a_file(tmp_path):
    config = ComfyUIConfig(tmp_path, server_host="::1", server_port=9000, memory_limit_gb=8.0)
    config.save_to_file(tmp_path / "sub" / "config.json")
    assert ComfyUIConfig.from_file(tmp_path / "sub" / "config.json") == config
    assert config.server_url == "http://[::1]:9000"
    assert ComfyUIConfig(tmp_path, server_host="0.0.0.0").server_url == "http://127.0.0.1:8188"


def test_unknown_and_missing_settings_are_told(tmp_path):
    with pytest.raises(UsageError, match="'server_prt'; did you mean server_port"):
        ComfyUIConfig.from_dict({"installation_path": "x", "server_prt": 1})
    with pytest.raises(UsageError, match="installation_path is missing"):
        ComfyUIConfig.from_dict({})
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError):
        ComfyUIConfig.from_file(tmp_path / "list.json")


def test_the_script_is_found_in_both_layouts(tmp_path):
    assert ComfyUIConfig(tmp_path).main_script_path == tmp_path / "main.py"
    (tmp_path / "ComfyUI").mkdir()
    assert ComfyUIConfig(tmp_path).main_script_path == tmp_path / "ComfyUI" / "main.py"


def test_validate_names_every_wrong_field(tmp_path):
    assert ComfyUIConfig(tmp_path).validate() == {}
    wrong = ComfyUIConfig(
        tmp_path / "no", server_port=0, startup_timeout=0, max_retry_attempts=-1, memory_limit_gb=0, log_level="LOUD"
    )
    assert set(wrong.validate()) == {
        "installation_path",
        "server_port",
        "startup_timeout",
        "max_retry_attempts",
        "memory_limit_gb",
        "log_level",
    }
    assert set(ControlNetConfig("", strength=3, control_image_path="gone.png").validate()) == {
        "model_name",
        "strength",
        "control_image_path",
    }
    assert set(IPAdapterConfig("", Path("gone.png"), 3, 2).validate()) == {
        "model_name",
        "reference_image_path",
        "weight",
        "noise",
    }
