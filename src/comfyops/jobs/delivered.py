"""Where an output was copied to, as a link of that bucket's own: whoever has it needs neither a login nor us."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from comfyops.jobs import deliveries, schema
from comfyops.jobs.delivery_names import DEFAULT, check, key_of, with_hash
from comfyops.jobs.exports import OUTPUTS, facts_of
from comfyops.jobs.store import Store

_e, _o = schema.exports.c, schema.outputs.c


class Delivered:
    """The copies of a database's outputs. `template` named them. Raises UsageError for one that cannot be."""

    def __init__(self, store: Store, template: str = DEFAULT) -> None:
        self._store = store
        self._template = check(template)

    async def link(self, output: str, seconds: float) -> str | None:
        """A link to the copy of an output, by its id as an asset, that is good for `seconds`.

        None where it was copied nowhere, to a place that has no links, or is there no longer. Raises DeliveryError
        where its bucket cannot be asked, MissingExtraError, DatabaseError.
        """
        found = await self._store.read(lambda connection: _read(connection, output))
        if found is None:
            return None
        row, address = found
        facts, destination = facts_of(row), deliveries.parse(address)
        key = key_of(self._template, facts)
        for name in (key, with_hash(key, facts.hash)):
            if await destination.state(name, facts.hash, row.size):
                return await destination.link(name, seconds)
        return None


def _read(connection: Connection, output: str) -> tuple[Any, str] | None:
    row = connection.execute(OUTPUTS.where(_o.id == output)).one_or_none()
    if row is None:
        return None
    done = select(_e.destination).where(_e.job == row.job, _e.state == "done")
    address = connection.execute(done).scalar_one_or_none()
    return None if address is None else (row, str(address))
