"""Outputs of jobs copied out, durably: to the one destination that the settings name, whatever dies on the way.

Every job that is done and made something is noted once, from the moment on at which a destination was first named. A
copy that does not succeed is tried again for days; the job itself is done all the same, and its backend free.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3
from sqlalchemy import Connection, exists, insert, literal, select, update

from comfyops.errors import ComfyOpsError
from comfyops.jobs import deliveries, schema
from comfyops.jobs.delivery_names import DEFAULT, Facts, check
from comfyops.jobs.files import Files
from comfyops.jobs.job import JobState
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert
from comfyops.support.files import write_bytes

SINCE = "export_since"
"""The setting that keeps from when on jobs are noted."""

_MARGIN = 300.0  # seconds for clocks that differ and transactions that end late
_TAKEN = 600.0  # seconds for which who copies a job's outputs has it for itself
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0  # seconds
_ATTEMPTS = 60  # about two days
_AT_ONCE = 4
_LOOK = 10.0  # seconds

_e, _j, _o, _s = schema.exports.c, schema.jobs.c, schema.outputs.c, schema.settings.c
logger = logging.getLogger("comfyops.jobs")


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """`destination` is a folder, s3://, gs:// or az:// (see `deliveries.parse`), "" = none; `template` names files."""

    destination: str = ""
    template: str = DEFAULT


@dataclass
class Exporter:
    """Copies outputs out; several may, also in several processes. Raises UsageError for settings that cannot be."""

    store: Store
    files: Files
    settings: ExportSettings
    _to: deliveries.Destination | None = field(init=False, default=None)
    _from: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        check(self.settings.template)
        self._to = deliveries.parse(self.settings.destination) if self.settings.destination else None

    async def export_due(self) -> float:
        """Copy what is due; gives the seconds until to look again. Raises DatabaseError."""
        if self._to is None:
            return 3600.0
        await self.store.write(self._note)
        while taken := await self.store.write(self._take):
            await asyncio.gather(*(self._export(job) for job in taken))
        return _LOOK

    def _note(self, tx: Tx) -> None:
        """Note the jobs that became done since the last time."""
        if self._from is None:
            tx.execute(upsert(tx, schema.settings, {"name": SINCE, "value": repr(tx.now)}, ["name"], {}))
            self._from = float(tx.execute(select(_s.value).where(_s.name == SINCE)).scalar_one())
        noted = exists().where(_e.job == _j.id)
        fresh = (_j.state == JobState.DONE, _j.outputs_count > 0, _j.finished_at >= self._from, ~noted)
        names = [column.name for column in schema.exports.c]
        values = [literal(value) for value in (self.settings.destination, "waiting", 0, tx.now, 0.0, 0, "", tx.now)]
        if tx.execute(insert(schema.exports).from_select(names, select(_j.id, *values).where(*fresh))).rowcount:
            value = repr(max(self._from, tx.now - _MARGIN))
            tx.execute(update(schema.settings).where(_s.name == SINCE).values(value=value))
        self._from = max(self._from, tx.now - _MARGIN)

    def _take(self, tx: Tx) -> list[str]:
        due = (_e.state == "waiting", _e.next_at <= tx.now, _e.taken_until <= tx.now)
        some = select(_e.job).where(*due).order_by(_e.next_at).limit(_AT_ONCE).with_for_update(skip_locked=True)
        jobs = list(tx.execute(some).scalars())
        tx.execute(update(schema.exports).where(_e.job.in_(jobs)).values(taken_until=tx.now + _TAKEN))
        return jobs

    async def _export(self, job: str) -> None:
        sent, reason = 0, ""
        try:
            for path, facts, mime, made in await self.store.read(lambda connection: self._outputs(connection, job)):
                sent += await self._deliver(path, facts, mime, made)
        except ComfyOpsError as error:
            reason = error.message
            logger.warning("outputs of the job %s are not copied out yet: %s", job, error.message)
        await self.store.write(lambda tx: _conclude(tx, job, sent, reason))

    def _outputs(self, connection: Connection, job: str) -> list[tuple[Path, Facts, str, bytes | None]]:
        rows = connection.execute(OUTPUTS.where(_o.job == job).order_by(_o.index))
        return [self._output(row) for row in rows]

    def _output(self, row: Any) -> tuple[Path, Facts, str, bytes | None]:
        """Where the bytes are, or are to be written first: a text lies in the database."""
        text = row.text.encode() if row.hash is None else None
        facts = facts_of(row)
        path = self.files.incoming() if text is not None else self.files.path(facts.hash)
        return path, facts, row.mime, text

    async def _deliver(self, path: Path, facts: Facts, mime: str, text: bytes | None) -> bool:
        assert self._to is not None
        try:
            if text is not None:
                await asyncio.to_thread(write_bytes, path, text)
            found = await deliveries.deliver(self._to, path, facts, mime=mime, template=self.settings.template)
        finally:
            if text is not None:
                path.unlink(missing_ok=True)
        return found.sent


OUTPUTS = select(
    *(_o.job, _o.index, _o.node, _o.kind, _o.filename, _o.hash, _o.mime, _o.text, _o.size),
    *(_j.owner, _j.name, _j.batch, _j.finished_at),
).select_from(schema.outputs.join(schema.jobs, _j.id == _o.job))
"""The outputs of jobs with what names of copies are made of; rows go to `facts_of`."""


def facts_of(row: Any) -> Facts:
    """What the name of an output's copy is made of."""
    digest = row.hash if row.hash is not None else blake3(row.text.encode()).hexdigest()
    more = {"owner": row.owner, "name": row.name, "batch": row.batch or "", "node": row.node, "kind": row.kind}
    return Facts(row.job, row.index, row.filename or f"{row.node}.txt", digest, row.finished_at, **more)


def _conclude(tx: Tx, job: str, sent: int, reason: str) -> None:
    attempts = (tx.execute(select(_e.attempts).where(_e.job == job)).scalar_one_or_none() or 0) + 1
    pause = min(_FIRST_PAUSE * 2 ** min(attempts, 20), _LONGEST_PAUSE) * (0.5 + random.random() / 2)
    state = "done" if not reason else "failed" if attempts >= _ATTEMPTS else "waiting"
    values = {"state": state, "attempts": attempts, "next_at": tx.now + pause, "taken_until": 0.0}
    statement = update(schema.exports).where(_e.job == job)
    tx.execute(statement.values(**values, sent=_e.sent + sent, reason=reason[:500]))
