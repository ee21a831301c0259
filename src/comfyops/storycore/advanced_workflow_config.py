"""StoryCore's `advanced_workflow_config`: how the manager of workflows behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from comfyops import config
from comfyops.errors import InputError, NotJsonError, UsageError
from comfyops.support.files import read_bytes, write_text


class QualityLevel(StrEnum):
    """How much effort goes into a result."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"
    ULTRA = "ultra"


@dataclass(frozen=True, slots=True)
class QualityPreset:
    """Steps and guidance of a level, and the measured quality (0 to 1) that is hoped for."""

    steps: int
    cfg_scale: float
    threshold: float


PRESETS = {
    QualityLevel.DRAFT: QualityPreset(10, 3.0, 0.6),
    QualityLevel.STANDARD: QualityPreset(20, 5.0, 0.8),
    QualityLevel.HIGH: QualityPreset(35, 7.0, 0.9),
    QualityLevel.ULTRA: QualityPreset(50, 9.0, 0.95),
}


@dataclass(frozen=True)
class AdvancedWorkflowConfig:
    """Settings of the manager; sizes in GB.

    These act: `max_memory_usage_gb` (0 = no limit) and `gpu_memory_fraction` limit what the router takes for fitting;
    `parallel_execution` with `num_workers` sets how many runs are sent to one server at a time; `quality_level` other
    than standard gives steps and guidance to requests that name none; `auto_retry_on_failure` with `max_retries`
    repeats a run that the server forgot; `fallback_to_basic` lets a resilient request go on to the next best workflow;
    `prefer_speed_over_quality` makes FASTEST of BALANCED; `enable_auto_routing` off takes the first workflow that can;
    `enable_hunyuan` and `enable_wan` say which built-in ones there are. The others are kept for StoryCore's files:
    ComfyUI itself decides on precision, caching, batches and where its models are.
    """

    schema_version: str = "1.0"
    environment: str = "local"
    log_level: str = "INFO"
    models_directory: str = "models"
    cache_directory: str = "cache"
    model_precision: str = "fp16"
    enable_quantization: bool = True
    max_memory_usage_gb: float = 20.0
    batch_size: int = 1
    enable_caching: bool = True
    parallel_execution: bool = False
    num_workers: int = 1
    gpu_memory_fraction: float = 0.9
    quality_level: QualityLevel = QualityLevel.STANDARD
    quality_threshold: float = 0.8
    auto_retry_on_failure: bool = True
    max_retries: int = 3
    enable_auto_routing: bool = True
    fallback_to_basic: bool = True
    prefer_speed_over_quality: bool = False
    enable_hunyuan: bool = True
    enable_wan: bool = True
    enable_newbie: bool = False
    enable_qwen: bool = False
    hunyuan_config: Mapping[str, Any] = field(default_factory=dict)
    wan_config: Mapping[str, Any] = field(default_factory=dict)
    newbie_config: Mapping[str, Any] = field(default_factory=dict)
    qwen_config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AdvancedWorkflowConfig:
        """The settings in a mapping. Raises UsageError for an unknown name or a value that cannot be."""
        known = {item.name: item for item in fields(cls)}
        for name in data:
            if name not in known:
                near = get_close_matches(str(name), known, 1)
                raise UsageError(f"There is no setting {name!r}{f'; did you mean {near[0]}?' if near else '.'}")
        made = cls(**{name: _typed(name, value, known[name].default) for name, value in data.items()})
        for name, wrong in made.validate().items():
            raise UsageError(f"The setting {name} is wrong: {wrong}.")
        return made

    @classmethod
    def from_file(cls, path: str | Path) -> AdvancedWorkflowConfig:
        """The settings in a YAML or JSON file. Raises MissingFileError, NotJsonError, InputError, UsageError."""
        try:
            data = yaml.safe_load(read_bytes(Path(path)))
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise NotJsonError(f"{path} is no YAML that can be read.", hint="Check its lines.") from error
        if not isinstance(data, dict):
            raise InputError(f"{path} holds no settings: it is no object of names and values.")
        return cls.from_dict(data)

    @classmethod
    def load(cls, path: str | Path | None = None) -> AdvancedWorkflowConfig:
        """The settings of a file, or the defaults, with the environment's over them (STORYCORE_NUM_WORKERS, ...).

        Variables that name no setting are left alone. Raises what `from_file` raises.
        """
        own = cls.from_file(path) if path is not None else cls()
        plain = {item.name for item in fields(cls) if item.default is not MISSING}
        given = {name: value for name, value in config.prefixed("STORYCORE_").items() if name in plain}
        return cls.from_dict({**own.to_dict(), **given}) if given else own

    def to_dict(self) -> dict[str, Any]:
        """The settings as YAML values."""
        return {**asdict(self), "quality_level": self.quality_level.value}

    def save_to_file(self, path: str | Path) -> None:
        """Write the settings as YAML. Raises StorageError."""
        write_text(Path(path), yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))

    def validate(self) -> dict[str, str]:
        """Setting -> what is wrong with it; empty where nothing is."""
        wrong: dict[str, str] = {}
        for name in ("num_workers", "batch_size"):
            if getattr(self, name) < 1:
                wrong[name] = "it must be at least 1"
        for name in ("max_memory_usage_gb", "max_retries"):
            if getattr(self, name) < 0:
                wrong[name] = "it cannot be negative"
        for name in ("gpu_memory_fraction", "quality_threshold"):
            if not 0 < getattr(self, name) <= 1:
                wrong[name] = "it is more than 0 and at most 1"
        return wrong

    @property
    def at_once(self) -> int:
        """How many runs are sent to one server at a time."""
        return self.num_workers if self.parallel_execution else 1


def _typed(name: str, value: Any, default: Any) -> Any:
    """A value of the default's type, as files and the environment write it."""
    if default is MISSING:
        if isinstance(value, Mapping):
            return dict(value)
        raise UsageError(f"The setting {name} is wrong: it is an object of names and values.")
    try:
        if isinstance(default, bool):
            return _yes(value)
        if isinstance(value, bool):
            raise ValueError(value)
        return type(default)(value.lower() if isinstance(default, QualityLevel) else value)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UsageError(f"The setting {name} is wrong: {value!r} is not of its kind.") from error


def _yes(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    return words[str(value).strip().lower()]
