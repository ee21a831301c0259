"""The state of models as figures for Prometheus, in the text format that node_exporter's textfile collector reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from comfyops.models.check import Finding, State
from comfyops.support.files import write_text


def figures(findings: Sequence[Finding], now: float | None = None, verified: float | None = None) -> str:
    """The figures of a check. A model counts where it is required, or is there.

    `verified` is when every byte was read last, in seconds since 1970.
    """
    counted = Counter(item.state for item in findings if item.required or item.state is not State.MISSING)
    bad = [item for item in findings if item.bad]
    lines = [
        "# HELP comfyops_models Models by state, as of the last check.",
        "# TYPE comfyops_models gauge",
        *(f'comfyops_models{{state="{state.value}"}} {counted[state]}' for state in State),
        "# HELP comfyops_model_problem A model that is missing or not what it should be.",
        "# TYPE comfyops_model_problem gauge",
        *(f'comfyops_model_problem{{model="{_label(item.entry.id)}",state="{item.state.value}"}} 1' for item in bad),
        "# HELP comfyops_models_bytes Bytes of the models that are there.",
        "# TYPE comfyops_models_bytes gauge",
        f"comfyops_models_bytes {sum(item.size or 0 for item in findings)}",
        "# HELP comfyops_models_checked_seconds Time of the last check, in seconds since 1970.",
        "# TYPE comfyops_models_checked_seconds gauge",
        f"comfyops_models_checked_seconds {time.time() if now is None else now:.0f}",
    ]
    if verified is not None:
        lines += [
            "# HELP comfyops_models_verified_seconds Time when every byte was read last, in seconds since 1970.",
            "# TYPE comfyops_models_verified_seconds gauge",
            f"comfyops_models_verified_seconds {verified:.0f}",
        ]
    return "\n".join(lines) + "\n"


def write(findings: Sequence[Finding], file: Path, now: float | None = None, verified: float | None = None) -> None:
    """Write the figures, whole or not at all, as the collector needs it.

    Raises StorageError.
    """
    write_text(file, figures(findings, now, verified))


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
