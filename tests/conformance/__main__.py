"""Print the report: python -m tests.conformance"""

from __future__ import annotations

import asyncio
import logging

from tests.conformance.report import VERSIONS, names, table, tally


async def main() -> None:
    """Replay all recordings, print what is equal and what is not, and fail on the unknown."""
    logging.getLogger("aiohttp.server").disabled = True
    tallies = [await tally(version, name) for version in VERSIONS for name in names(version)]
    print(table(tallies))
    unexplained = [line for each in tallies for line in each.unexplained]
    if unexplained:
        raise SystemExit("\n".join(["", "unexplained:", *unexplained]))


if __name__ == "__main__":
    asyncio.run(main())
