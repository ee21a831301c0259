"""Files that a job takes: outputs of other jobs, stored assets, and what its owner uploaded, put onto its backend."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, select

from comfyops.backends.comfyui import ComfyUI
from comfyops.errors import DependencyError
from comfyops.jobs import references, schema
from comfyops.jobs.files import Files
from comfyops.jobs.job import Job
from comfyops.jobs.references import AssetOf, Reference
from comfyops.jobs.store import Store
from comfyops.jobs.uploads import Place

SUBFOLDER = "comfyops"
"""The folder inside a backend's input folder that files of jobs go to, named by their content."""

_LARGE = 1024 * 1024  # bytes from which it is worth asking whether a file is at the backend already

_o, _u, _a = schema.outputs.c, schema.uploads.c, schema.assets.c


async def put_in(job: Job, client: ComfyUI, store: Store, files: Files) -> dict[str, Any]:
    """The graph of a job with the names that its files have at the backend, where they are now.

    Raises DependencyError where a file is not there, BackendErrors.
    """
    graph = dict(job.graph or {})
    found = references.find(graph)
    sources = await store.read(lambda connection: _sources(connection, found)) if found else {}
    names = {source: await _upload(client, files, *sources[source]) for source in found}
    graph = references.put(graph, names.__getitem__)
    uploads = await store.read(lambda connection: _uploads(connection, job.owner, set(_texts(graph))))
    sent = {text: await _upload(client, files, digest, name) for text, (digest, name) in uploads.items()}
    return _renamed(graph, sent) if sent else graph


def _sources(connection: Connection, found: tuple[Reference, ...]) -> dict[Reference, tuple[str, str]]:
    """Hash and file name of each reference."""
    return {source: _source(connection, source) for source in found}


def _source(connection: Connection, source: Reference) -> tuple[str, str]:
    if isinstance(source, AssetOf):
        row = connection.execute(select(_a.hash, _a.mime).where(_a.hash == source.hash)).one_or_none()
        if row is None:
            raise DependencyError(f"There is no asset {source.hash[:16]}...", hash=source.hash)
        return row.hash, f"asset{mimetypes.guess_extension(row.mime) or ''}"
    chosen = (_o.node == source.node,) if source.node else (_o.index == source.index,)
    statement = select(_o.hash, _o.filename).where(_o.job == source.job, *chosen).order_by(_o.index).limit(1)
    row = connection.execute(statement).one_or_none()
    if row is None or row.hash is None:
        which = f"node {source.node}" if source.node else f"output {source.index}"
        raise DependencyError(f"The job {source.job} made no file as {which}.", job=source.job)
    return row.hash, row.filename


async def _upload(client: ComfyUI, files: Files, digest: str, name: str) -> str:
    path = files.path(digest)
    unique = f"{digest[:24]}{PurePosixPath(name).suffix.lower()[:12]}"
    size = path.stat().st_size
    if size > _LARGE and await client.input_size(unique, SUBFOLDER) == size:  # an earlier job took it there
        return f"{SUBFOLDER}/{unique}"
    return await client.upload_image(unique, path, subfolder=SUBFOLDER, overwrite=True)


def _texts(graph: Mapping[str, Any]) -> Iterator[str]:
    """The text values of inputs, which may be names of uploaded files."""
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        for value in inputs.values() if isinstance(inputs, Mapping) else ():
            if isinstance(value, str) and 0 < len(value) < 300:
                yield value


def _uploads(connection: Connection, owner: str, texts: set[str]) -> dict[str, tuple[str, str]]:
    """Those texts that name an upload of this owner: its hash and file name."""
    wanted = {text: _split(text) for text in texts}
    names = {place.name for place in wanted.values()}
    if not names:
        return {}
    statement = select(_u.folder_type, _u.subfolder, _u.name, _u.hash).where(_u.owner == owner, _u.name.in_(names))
    there = {Place(row.folder_type, row.subfolder, row.name): row.hash for row in connection.execute(statement)}
    return {text: (there[place], place.name) for text, place in wanted.items() if place in there}


def _split(text: str) -> Place:
    kind = "temp" if text.endswith(" [temp]") else "input"
    subfolder, _, name = text.removesuffix(f" [{kind}]").replace("\\", "/").rpartition("/")
    return Place(kind, subfolder, name)


def _renamed(graph: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {key: _renamed_node(node, names) for key, node in graph.items()}


def _renamed_node(node: Any, names: Mapping[str, str]) -> Any:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    if not isinstance(inputs, Mapping):
        return node
    changed = {name: names.get(value, value) if isinstance(value, str) else value for name, value in inputs.items()}
    return {**node, "inputs": changed}
