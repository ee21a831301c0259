"""Assets: names that owners give to kept files. Outputs of jobs are assets too, as long as their job is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Connection, Row, delete, insert, select

from comfyops.errors import UnknownAssetError, UsageError
from comfyops.jobs import direct, rows, schema
from comfyops.jobs.kept import Kept
from comfyops.jobs.store import Store
from comfyops.jobs.tx import Tx

MAX_NAME = 1024
"""Characters of the name of an asset."""

_n, _a, _o, _j = schema.asset_names.c, schema.assets.c, schema.outputs.c, schema.jobs.c


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of an owner. `hash` is its BLAKE3; "" with `text` for an output that is a text. Size in bytes.

    `job` made it, where it is an output. `created_new` = the owner had no file of these bytes before.
    """

    id: str
    owner: str
    name: str
    mime: str
    size: int
    created_at: float
    hash: str = ""
    sha256: str = ""
    tags: tuple[str, ...] = ()
    job: str | None = None
    text: str = ""
    created_new: bool = False


class AssetRecords:
    """The assets of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, owner: str, kept: Kept, name: str, mime: str, tags: Sequence[str] = ()) -> Asset:
        """Name a kept file. Raises UsageError for a name that leaves its folder."""
        checked = checked_name(name)
        return await self._store.write(lambda tx: _add(tx, owner, kept, checked, mime, tuple(tags)))

    async def mint(self, owner: str, digest: str, name: str | None, tags: Sequence[str] = ()) -> Asset:
        """Another name for bytes that the owner has. Raises UnknownAssetError, UsageError."""
        checked = None if name is None else checked_name(name)
        return await self._store.write(lambda tx: _mint(tx, owner, digest, checked, tuple(tags)))

    async def has(self, owner: str, digest: str) -> bool:
        """Whether the owner has bytes of this BLAKE3."""
        return await self._store.read(lambda connection: _of_owner(connection, owner, digest) is not None)

    async def get(self, asset: str, owner: str | None = None) -> Asset:
        """The asset of this id. Raises UnknownAssetError, also for somebody else's."""
        return await self._store.read(lambda connection: read(connection, asset, owner))

    async def delete(self, asset: str, owner: str | None = None) -> None:
        """Take a name away; bytes that no name and no job keeps go with the next sweep. Raises UnknownAssetError."""
        await self._store.write(lambda tx: _delete(tx, asset, owner))


def checked_name(name: str) -> str:
    """A path of an asset, as it may be. Raises UsageError."""
    parts = name.replace("\\", "/").split("/")
    odd = any(part in ("", ".", "..") or any(ord(mark) < 32 for mark in part) for part in parts)
    if odd or len(name) > MAX_NAME or ":" in parts[0]:
        raise UsageError(f"{name[:80]!r} is no name for a file.", hint="Give a name such as photo.png.")
    return "/".join(parts)


def read(connection: Connection, asset: str, owner: str | None) -> Asset:
    """The asset of this id. Raises UnknownAssetError."""
    row = connection.execute(_named().where(_n.id == asset)).one_or_none()
    found = _of_name(row) if row is not None else _of_output(connection, asset)
    if found is None or (owner is not None and found.owner != owner):
        raise UnknownAssetError(f"There is no asset {asset[:80]!r}.", asset=asset)
    return found


def _named() -> Any:
    columns = (_n.id, _n.owner, _n.name, _n.mime, _n.tags, _n.created_at, _n.hash, _a.sha256, _a.size)
    return select(*columns).join(schema.assets, _a.hash == _n.hash)


def _of_name(row: Row[Any]) -> Asset:
    return Asset(**{**row._mapping, "tags": tuple(json.loads(row.tags))})


def _of_output(connection: Connection, asset: str) -> Asset | None:
    columns = (_o.id, _o.filename, _o.mime, _o.size, _o.hash, _o.text, _o.node, _j.owner, _a.sha256)
    whole = schema.outputs.join(schema.jobs, _j.id == _o.job).outerjoin(schema.assets, _a.hash == _o.hash)
    statement = select(*columns, _j.id.label("job"), _j.created_at).select_from(whole).where(_o.id == asset)
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return Asset(
        row.id,
        row.owner,
        row.filename or f"{row.node}.txt",
        row.mime or "text/plain",
        row.size or len(row.text.encode()),
        row.created_at,
        row.hash or "",
        row.sha256 or "",
        job=row.job,
        text=row.text,
    )


def _of_owner(connection: Connection, owner: str, digest: str) -> Row[Any, Any, Any] | None:
    """A file of these bytes that the owner has: a named one, else an output."""
    named = select(_n.hash, _n.name, _n.mime).where(_n.owner == owner, _n.hash == digest).limit(1)
    made = (
        select(_o.hash, _o.filename.label("name"), _o.mime)
        .join(schema.jobs, _j.id == _o.job)
        .where(_j.owner == owner, _o.hash == digest)
        .limit(1)
    )
    return connection.execute(named).first() or connection.execute(made).first()


def _add(tx: Tx, owner: str, kept: Kept, name: str, mime: str, tags: tuple[str, ...]) -> Asset:
    new = _of_owner(tx.connection, owner, kept.hash) is None
    keep_assets(tx, [(kept, mime)])
    asset = Asset(str(uuid4()), owner, name, mime, kept.size, tx.now, kept.hash, kept.sha256, tags, created_new=new)
    values = {name: getattr(asset, name) for name in ("id", "owner", "hash", "name", "mime", "created_at")}
    tx.execute(insert(schema.asset_names).values(**values, tags=rows.dump(tags), data="{}", updated_at=tx.now))
    return asset


def _mint(tx: Tx, owner: str, digest: str, name: str | None, tags: tuple[str, ...]) -> Asset:
    row = _of_owner(tx.connection, owner, digest)
    if row is None:
        raise UnknownAssetError(f"You have no file of the hash {digest[:16]}...", hash=digest)
    blob = tx.execute(select(_a.hash, _a.sha256, _a.size).where(_a.hash == digest)).one()
    kept = Kept(blob.hash, blob.sha256, blob.size)
    return _add(tx, owner, kept, name or checked_name(row.name), row.mime, tags)


def _delete(tx: Tx, asset: str, owner: str | None) -> None:
    conditions = [_n.id == asset, *([] if owner is None else [_n.owner == owner])]
    if not tx.execute(delete(schema.asset_names).where(*conditions)).rowcount:
        found = _of_output(tx.connection, asset)
        if found is None or (owner is not None and found.owner != owner):
            raise UnknownAssetError(f"There is no asset {asset[:80]!r}.", asset=asset)
        raise UsageError("The asset is an output; it goes with its job.", hint=f"Delete the job {found.job}.")


def output_id(job: str, index: int) -> str:
    """The id of an output as an asset."""
    return str(uuid5(UUID(job), f"output {index}"))


def keep_assets(tx: Tx, kept: Iterable[tuple[Kept, str]]) -> None:
    """Have rows for kept files of these MIME types; those that are there are used again."""
    same = {"created_at": tx.now, "used_at": tx.now}
    new = {
        file.hash: {"hash": file.hash, "sha256": file.sha256, "size": file.size, "mime": mime, **same}
        for file, mime in kept
    }
    if new:
        direct.add(tx, schema.assets, list(new.values()), key="hash", changes="used_at")
