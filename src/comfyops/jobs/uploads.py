"""Files that owners uploaded to be named in graphs, as they would lie in a server's input folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sqlalchemy import Connection, select

from comfyops.jobs import schema
from comfyops.jobs.asset_records import keep_assets
from comfyops.jobs.kept import Kept
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx, upsert

_u, _a = schema.uploads.c, schema.assets.c
_MOST = 1000  # files of one list
_KEY = ["owner", "folder_type", "subfolder", "name"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies: the kind of folder ("input" or "temp"), the subfolder in it ("" = none), the name."""

    folder_type: str
    subfolder: str
    name: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A kept file by its BLAKE3, its size in bytes and its MIME type."""

    hash: str
    size: int
    mime: str


class Uploads:
    """The uploads of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, owner: str, place: Place, kept: Kept, mime: str, *, overwrite: bool = False) -> Place:
        """Put a kept file there; where another lies there it is replaced or, without `overwrite`, the new one is named
        "name (1).png" and so on, as ComfyUI does. Gives where it lies."""
        return await self._store.write(lambda tx: _put(tx, owner, place, kept, mime, overwrite))

    async def get(self, owner: str, place: Place) -> Uploaded | None:
        """What an owner has there."""
        return await self._store.read(lambda connection: read(connection, owner, place))

    async def ls(self, owner: str, folder_type: str) -> tuple[Place, ...]:
        """Where an owner has files in a kind of folder, the newest first; a thousand at most."""
        mine = (_u.owner == owner, _u.folder_type == folder_type)
        statement = select(_u.subfolder, _u.name).where(*mine).order_by(_u.created_at.desc(), _u.name).limit(_MOST)
        rows = await self._store.read(lambda connection: connection.execute(statement).all())
        return tuple(Place(folder_type, row.subfolder, row.name) for row in rows)


def read(connection: Connection, owner: str, place: Place) -> Uploaded | None:
    """What an owner has at a place."""
    there = (_u.owner == owner, _u.folder_type == place.folder_type, _u.subfolder == place.subfolder)
    statement = select(_a.hash, _a.size, _a.mime).join(schema.uploads, _u.hash == _a.hash)
    row = connection.execute(statement.where(*there, _u.name == place.name)).one_or_none()
    return None if row is None else Uploaded(row.hash, row.size, row.mime)


def _put(tx: Tx, owner: str, place: Place, kept: Kept, mime: str, overwrite: bool) -> Place:
    keep_assets(tx, [(kept, mime)])
    for found in [place] if overwrite else _names(place):
        there = read(tx.connection, owner, found)
        if overwrite or there is None or there.hash == kept.hash:
            break
    where = {"folder_type": found.folder_type, "subfolder": found.subfolder, "name": found.name}
    row = {"owner": owner, **where, "hash": kept.hash, "created_at": tx.now}
    tx.execute(upsert(tx, schema.uploads, row, _KEY, {"hash": kept.hash, "created_at": tx.now}))
    return found


def _names(place: Place) -> Iterator[Place]:
    yield place
    path = PurePosixPath(place.name)
    number = 0
    while True:
        number += 1
        yield Place(place.folder_type, place.subfolder, f"{path.stem} ({number}){path.suffix}")
