"""Differences between the simulator and the recorded servers that are known, each with its reason.

A case is named by version and title, both as patterns; the place of the difference inside the case is a third one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conformance.outcome import Outcome


@dataclass(frozen=True)
class Known:
    """One difference that is accepted."""

    title: str
    place: str
    reason: str
    version: str = ""

    def covers(self, version: str, title: str, difference: str) -> bool:
        """Whether it is this one."""
        found = re.search(self.title, title) and re.search(self.place, difference)
        return bool(found) and (not self.version or self.version == version)


PAGE = "the official page is not served unless asked for; tests/browser tests it"
CPU = "the recorded servers ran on a CPU, the simulator says it has one GPU"
USED = "the recorded server had run prompts before"
VALUES = "values inside nodes are not tensors, so Python's words about wrong ones differ"
INPUTS = "0.8.0 looks into inputs that are no object; verdict and faulty nodes are equal"

MADE_UP = "the simulator has no such file and makes its metadata up"
REWRITTEN = "a path of the recording machine was rewritten in the recording, which changed the question"
EARLIER = "the recording holds the history of an earlier prompt of the same id"
TIMES = "which of two short runs took longer"

KNOWN = (
    Known(r"^http_get 41 root|^http_api_prefix 09|cache headers|probe", r"^\.(status|headers|body)", PAGE),
    Known(r"system_stats|api prefix|cache headers", r"^\.json\.devices\[0\]\.index", CPU),
    Known(r"^http_api_prefix 01", r"queue_remaining", USED),
    Known(r"^http_get (10|11|14|22|23|26) ", r"^\.json", USED, "0.8.0"),
    Known(r"view_metadata", r"^\.json\.note", MADE_UP),
    Known(r"absolute filename", r"^\.(status|headers|body|json)", REWRITTEN),
    Known(r"prompt_id nil uuid", r"^\.history\.prompt", EARLIER, "0.33.0"),
    Known(r"dyncombo key as link|matchtype wrong type", r"exception_(message|type)", VALUES),
    Known(r"autogrow list in one key", r"^\.history", VALUES, "0.8.0"),
    Known(r"inputs = null|inputs list|inputs string", r"^\.json\.node_errors\.1\.errors", INPUTS, "0.8.0"),
    Known(r"sort_by=execution_duration", r"^\.json\.jobs", TIMES),
)

NOT_REPLAYED = {
    "assets_enabled_v033": "the simulator is a server without --enable-assets",
    "cache_default_v033, cache_ram_2_2_v033": "the simulator caches as --cache-classic does (previous prompt)",
    "comfyui_login": "a plugin, no part of the server",
    "order_restart_v033, restart_mid_run": "a restart ends the simulator's process; see the fault forget_after_runs",
    "race_history_after_success": "a race of threads; the simulator has one, and history is there first",
    "ws_slow_reader": "needs half a minute of silence; tests/unit/simulator has a short form",
}
"""Recordings that are left out, and why."""


def unexplained(outcome: Outcome) -> tuple[str, ...]:
    """The differences of a case that are not known."""
    return tuple(difference for difference in outcome.differences if reason(outcome, difference) is None)


def reason(outcome: Outcome, difference: str) -> str | None:
    """Why a difference is accepted, None where it is not known."""
    for known in KNOWN:
        if known.covers(outcome.version, outcome.title, difference):
            return known.reason
    return None
