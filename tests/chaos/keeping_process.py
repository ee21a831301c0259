"""Keeps file after file, until it is killed. Run as `python -m tests.chaos.keeping_process FOLDER SEED`."""

import asyncio
import random
import sys
from pathlib import Path

from comfyops.jobs.files import Files


async def main(folder: Path, seed: int) -> None:
    files, chance = Files(folder), random.Random(seed)
    (folder / "incoming").mkdir(parents=True, exist_ok=True)
    while True:
        path = files.incoming()
        path.write_bytes(chance.randbytes(chance.randrange(1, 400_000)))
        kept = await files.keep(path)
        print(kept.hash, flush=True)


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
