"""What runs told of themselves, for lists of jobs that are over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, select

from comfyops.jobs import schema

_e = schema.events.c


@dataclass(frozen=True, slots=True)
class Told:
    """What the last run of a job told: when it began (seconds since the epoch, None = it never did), the nodes that
    its server had the results of already, and what others showed, as the server said it, by node and key."""

    began: float | None = None
    cached: tuple[str, ...] = ()
    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


def read(connection: Connection, jobs: Sequence[str]) -> dict[str, Told]:
    """What each of these jobs told."""
    found = dict.fromkeys(jobs, Told())
    wanted = _e.type.in_(("started", "cached", "outputs"))
    statement = select(_e.job, _e.type, _e.at, _e.data).where(_e.job.in_(jobs), wanted).order_by(_e.job, _e.seq)
    for row in connection.execute(statement):
        data, before = json.loads(row.data), found[row.job]
        if row.type == "started":
            found[row.job] = Told(row.at)
        elif row.type == "cached":
            found[row.job] = Told(before.began, tuple(data["nodes"]), before.shown)
        else:
            found[row.job] = Told(before.began, before.cached, {**before.shown, data["node"]: data.get("shown", {})})
    return found
