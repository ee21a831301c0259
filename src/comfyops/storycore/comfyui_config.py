"""StoryCore's `comfyui_config`: where ComfyUI is, and what guides a panel."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from comfyops.errors import InputError, UsageError
from comfyops.support.files import read_bytes, write_text
from comfyops.workflows.api_format import load_json

_POSITIVE = (
    "startup_timeout health_check_interval process_timeout graceful_shutdown_timeout force_kill_timeout worker_threads "
    "metrics_interval"
)
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class ComfyUIConfig:
    """A ComfyUI installation and its server; times in seconds."""

    installation_path: Path
    server_host: str = "127.0.0.1"
    server_port: int = 8188
    startup_timeout: float = 60.0
    health_check_interval: float = 5.0
    max_retry_attempts: int = 3
    process_timeout: float = 300.0
    graceful_shutdown_timeout: float = 30.0
    force_kill_timeout: float = 10.0
    enable_gpu: bool = True
    memory_limit_gb: float | None = None
    worker_threads: int = 1
    log_level: str = "INFO"
    enable_metrics: bool = True
    metrics_interval: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "installation_path", Path(self.installation_path))

    @classmethod
    def default(cls) -> ComfyUIConfig:
        """The portable installation where StoryCore puts it."""
        windows = Path(r"C:\storycore-engine\comfyui_portable")
        return cls(windows if sys.platform == "win32" else Path.home() / "comfyui_portable")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ComfyUIConfig:
        """The configuration in a mapping. Raises UsageError for unknown names and where the path is missing."""
        known = {item.name for item in fields(cls)}
        for name in data:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise UsageError(f"There is no setting {name!r}{f'; did you mean {near[0]}?' if near else '.'}")
        if "installation_path" not in data:
            raise UsageError("The setting installation_path is missing.")
        return cls(**data)

    @classmethod
    def from_file(cls, path: str | Path) -> ComfyUIConfig:
        """The configuration in a JSON file. Raises MissingFileError, NotJsonError, InputError, UsageError."""
        data = load_json(read_bytes(Path(path)), str(path))
        if not isinstance(data, dict):
            raise InputError(f"{path} holds no settings: it is no JSON object.")
        return cls.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "installation_path": str(self.installation_path)}

    def save_to_file(self, path: str | Path) -> None:
        """Write the settings as JSON. Raises StorageError."""
        write_text(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def validate(self) -> dict[str, str]:
        """Setting -> what is wrong with it; empty where nothing is."""
        wrong: dict[str, str] = {}
        if not self.installation_path.is_dir():
            wrong["installation_path"] = f"{self.installation_path} is no folder"
        if not 1 <= self.server_port <= 65535:
            wrong["server_port"] = "a port is between 1 and 65535"
        wrong |= {name: "it must be more than 0" for name in _POSITIVE.split() if getattr(self, name) <= 0}
        if self.max_retry_attempts < 0:
            wrong["max_retry_attempts"] = "it cannot be negative"
        if self.memory_limit_gb is not None and self.memory_limit_gb <= 0:
            wrong["memory_limit_gb"] = "it must be more than 0"
        if self.log_level not in _LOG_LEVELS:
            wrong["log_level"] = f"it is one of {', '.join(_LOG_LEVELS)}"
        return wrong

    @property
    def server_url(self) -> str:
        """The server's address."""
        return f"http://{self._host}:{self.server_port}"

    @property
    def websocket_url(self) -> str:
        """The server's websocket."""
        return f"ws://{self._host}:{self.server_port}/ws"

    @property
    def executable_path(self) -> Path:
        """The Python that the portable installation brings, else this one."""
        embedded = self.installation_path / "python_embeded" / "python.exe"
        return embedded if embedded.is_file() else Path(sys.executable)

    @property
    def comfyui_path(self) -> Path:
        """The folder that holds main.py and models."""
        inner = self.installation_path / "ComfyUI"
        return inner if inner.is_dir() else self.installation_path

    @property
    def main_script_path(self) -> Path:
        """ComfyUI's main.py."""
        return self.comfyui_path / "main.py"

    @property
    def _host(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.server_host, self.server_host)
        return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class ControlNetConfig:
    """A picture that guides a panel. `model_name` may leave the file's extension out; the path may be text or Path."""

    model_name: str
    strength: float = 1.0
    preprocessing: bool = True
    control_image_path: str | Path | None = None

    def validate(self) -> dict[str, str]:
        """Field -> what is wrong with it."""
        wrong = {} if self.model_name else {"model_name": "it is empty"}
        if not 0 <= self.strength <= 2:
            wrong["strength"] = "it is between 0 and 2"
        if self.control_image_path is None:
            wrong["control_image_path"] = "it is missing"
        elif not Path(self.control_image_path).is_file():
            wrong["control_image_path"] = f"{self.control_image_path} is not there"
        return wrong


@dataclass(frozen=True)
class IPAdapterConfig:
    """A picture whose look a panel takes over. `noise` is kept for old files: current nodes have no such setting."""

    model_name: str
    reference_image_path: str | Path
    weight: float = 0.7
    noise: float = 0.0

    def validate(self) -> dict[str, str]:
        """Field -> what is wrong with it."""
        wrong = {} if self.model_name else {"model_name": "it is empty"}
        if not Path(self.reference_image_path).is_file():
            wrong["reference_image_path"] = f"{self.reference_image_path} is not there"
        if not 0 <= self.weight <= 2:
            wrong["weight"] = "it is between 0 and 2"
        if not 0 <= self.noise <= 1:
            wrong["noise"] = "it is between 0 and 1"
        return wrong
