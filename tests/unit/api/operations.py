"""The operators' API and page behind a gateway, with a simulated hub, for the tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from comfyops import app as parts
from comfyops import config
from comfyops.api.ops.app import AtWork
from comfyops.gateway.settings import BackendAddress
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing.model_hub import Faults, ModelHub
from tests.unit.gateway.house import House, house
from tests.unit.models.shelf import HF, sha, weights

SIZE = 4_000_000
FILES = {f"org/repo/{name}.safetensors": weights(SIZE, number) for number, name in enumerate("abc")}


def own_catalog(home: Path) -> None:
    """A set of three models, one of them optional, in the user's own catalog."""
    models = []
    for number, (path, data) in enumerate(FILES.items()):
        sort = "optional_in" if number == 2 else "required_in"
        item = {"file": path.rpartition("/")[2], "folder": "loras", "sha256": sha(data), "size": len(data)}
        models.append({**item, "url": f"{HF}/{path.replace('repo/', 'repo/resolve/main/')}", sort: ["mine"]})
    home.mkdir(parents=True, exist_ok=True)
    (home / "models.yaml").write_text(json.dumps({"groups": {"mine": {"title": "Mine"}}, "models": models}))


@asynccontextmanager
async def operations(
    folder: Path, faults: Faults | None = None, work: AtWork | None = None
) -> AsyncIterator[tuple[House, ModelHub]]:
    """A gateway with /ops before a simulated server that a given queue is told of; models come from a simulated hub."""
    own_catalog(folder / "home")
    with ModelHub(FILES, faults or Faults()) as hub:
        async with Simulator(SimulatorSettings(port=0)) as simulator:
            settings = config.override(
                config.load(),
                home=folder / "home",
                models_dir=folder / "models",
                hf_endpoint=hub.endpoint,
                model_hosts=f"{hub.endpoint},{hub.store}",
            )
            (folder / "models").mkdir(exist_ok=True)
            if work is not None:
                await work.queue.fleet.add(simulator.url, name="gpu-1", tags=["big"])
            async with (
                parts.ops_mounts(settings, [BackendAddress(simulator.url)], work) as mounts,
                house(folder / "gateway", backend=simulator.url, mounts=mounts) as home,
            ):
                yield home, hub
