"""`python -m benchmarks.fetch_one URL TARGET [SHA256]`: one file, fetched by ComfyOps in a process of its own.

COMFYOPS_BENCH_CA names certificates to trust. Prints the most memory used, in MB.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from comfyops.models.transfer import FileRequest, Transfers, TransferSettings


def main(url: str, target: str, sha256: str | None = None) -> int:
    """0 where the file is in its place."""
    authority = os.environ.get("COMFYOPS_BENCH_CA")
    settings = TransferSettings(ca_file=Path(authority) if authority else None)
    (result,) = Transfers(settings).run([FileRequest("file", Path(target), (url,), sha256=sha256)])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.downloaded_bytes, result.reused_bytes)
    if result.error is not None:
        print(result.error, file=sys.stderr)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
