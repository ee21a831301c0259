"""The state of models as figures for Prometheus, in the text format that node_exporter's textfile collector reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from comfyops.models.check import Finding, State
from comfyops.support.files import write_text
from comfyops.support.prometheus import Family, sample, text


def figures(findings: Sequence[Finding], now: float | None = None, verified: float | None = None) -> str:
    """The figures of a check. A model counts where it is required, or is there.

    `verified` is when every byte was read last, in seconds since 1970.
    """
    counted = Counter(item.state for item in findings if item.required or item.state is not State.MISSING)
    bad = [sample(1, model=item.entry.id, state=item.state.value) for item in findings if item.bad]
    checked = round(time.time() if now is None else now)
    families = [
        Family(
            "comfyops_models",
            "Models by state, as of the last check.",
            [sample(counted[state], state=state.value) for state in State],
        ),
        Family("comfyops_model_problem", "A model that is missing or not what it should be.", bad),
        Family(
            "comfyops_models_bytes",
            "Bytes of the models that are there.",
            [sample(sum(item.size or 0 for item in findings))],
        ),
        Family("comfyops_models_checked_seconds", "Time of the last check, in seconds since 1970.", [sample(checked)]),
    ]
    if verified is not None:
        words = "Time when every byte was read last, in seconds since 1970."
        families.append(Family("comfyops_models_verified_seconds", words, [sample(round(verified))]))
    return text(families)


def write(findings: Sequence[Finding], file: Path, now: float | None = None, verified: float | None = None) -> None:
    """Write the figures, whole or not at all, as the collector needs it.

    Raises StorageError.
    """
    write_text(file, figures(findings, now, verified))
