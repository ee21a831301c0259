"""Many simulated servers in one process of their own: `python -m benchmarks.simulators COUNT STEP LOAD`.

Prints their addresses as JSON, and ends when its input ends. STEP and LOAD are the seconds of a sampling step and of
loading a model.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

MODELS = tuple(f"model{number}.safetensors" for number in range(4))


@contextmanager
def simulators(count: int, *, step: float = 0.0, load: float = 0.0) -> Iterator[list[str]]:
    """The addresses of so many servers, which end after the block."""
    command = [sys.executable, "-m", "benchmarks.simulators", str(count), str(step), str(load)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


async def _serve(count: int, step: float, load: float) -> None:
    from comfyops.simulator.server import Simulator
    from comfyops.simulator.settings import SimulatorSettings

    settings = SimulatorSettings(
        port=0, seconds_per_step=step, model_load_seconds=load, models={"checkpoints": MODELS}, vram_bytes=3 * 1024**3
    )  # room for one model of 2 GiB
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Simulator(settings)) for _ in range(count)]
        print(json.dumps([server.url for server in servers]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
