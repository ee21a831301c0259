"""Fetching in this process, shown, steerable from others, stopped cleanly: for commands that fetch models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfyops.cli.model_options import fetching
from comfyops.cli.output import show
from comfyops.cli.stopping import stoppable
from comfyops.models.downloads import Downloads
from comfyops.models.plan import Item
from comfyops.models.provision import Outcome, Provision

_LOOK = 0.2  # seconds between two looks at what changed


def brought(
    provision: Provision,
    items: Sequence[Item],
    *,
    home: Path,
    place: Mapping[str, Any],
    priorities: Mapping[str, int] | None = None,
    quiet: bool = False,
) -> tuple[Outcome, ...]:
    """Have the files in their places. Ctrl-C and SIGTERM stop it: what came is kept, and it may be gone on with.

    Raises what `Provision.fetch` raises, and KeyboardInterrupt.
    """
    if not items:
        return ()
    downloads = Downloads(provision, home, place)
    total = sum(item.entry.size or 0 for item in items)
    try:
        with fetching(total, quiet=quiet) as listener, stoppable(), downloads.subscribe() as events:
            downloads.start(items, priorities)
            ended = False
            while not ended:
                ended = downloads.wait(_LOOK)
                for changed in events.next(0.0):
                    listener(changed.progress)
    except KeyboardInterrupt:
        if not quiet:
            show("stopping; what came is kept: `comfyops models downloads resume` goes on")
        raise
    finally:
        downloads.close()
    by_model = {outcome.entry.id: outcome for outcome in downloads.outcomes()}
    return tuple(by_model[item.entry.id] for item in items)
