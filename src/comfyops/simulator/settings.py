"""What a simulated server is told: addresses, times, sizes, weaknesses and faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comfyops.workflows.node_types import NodeTypes


@dataclass(frozen=True)
class Faults:
    """Switches that make the simulator fail, each off by default."""

    fail_class: str = ""  # class of node that raises an error
    oom_class: str = ""  # class of node that runs out of memory
    slow_factor: float = 1.0  # every simulated duration is multiplied by this
    drop_sockets_after: int = 0  # close every websocket after this many messages to it (0 = never)
    die_mid_run: bool = False  # close the server while the first run is under way
    forget_after_runs: int = (
        0  # after this many runs, once: queue, history (the last run included) and numbers are gone
    )
    dead_worker: bool = False  # accept jobs and never run one, while HTTP answers
    corrupt_output: bool = False  # saved files are cut short


@dataclass(frozen=True)
class SimulatorSettings:
    """One simulated server. Durations are seconds, sizes bytes."""

    host: str = "127.0.0.1"
    port: int = 8188  # 0 = any free one
    version: str = "0.33.0"  # whose answers it gives, "0.33.0" or "0.8.0"
    home: Path | None = None  # folder for input, output, temp and user files; None = a temporary one
    seconds_per_step: float = 0.0  # sampling time of one step
    seconds_per_node: float = 0.0  # time of any other node
    model_load_seconds: float = 0.0  # time to load a model file that is not resident
    model_bytes: Mapping[str, int] = field(default_factory=dict)  # VRAM by file name; others take model_bytes_default
    model_bytes_default: int = 2 * 1024**3
    vram_bytes: int = 24 * 1024**3
    models: Mapping[str, tuple[str, ...]] | None = None  # folder -> files; None = the inventory in `models.py`
    types: NodeTypes | None = None  # node facts; None = those that come with the version
    previews: bool = False  # send a preview picture per step, as with --preview-method
    faithful_poison: bool = False  # break on the prompts that break the real server
    page: bool = False  # serve the official ComfyUI page (extra `page`)
    history_limit: int = 10_000
    record: Path | None = None  # file to which the begin and the end of each run are added; see `runs.RunLog`
    faults: Faults = Faults()
