"""Routes of assets."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from comfyops.api.v2 import shapes, views
from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.ranges import asset_response
from comfyops.api.v2.requests import BoundedRoute, owner_seen, principal
from comfyops.api.v2.signed import Sites
from comfyops.api.v2.uploading import receive
from comfyops.errors import UnknownAssetError
from comfyops.jobs.asset_records import Asset
from comfyops.jobs.delivered import Delivered
from comfyops.jobs.queue import Queue

_HASH = "blake3:"
_UPLOAD = {
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "file_path"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "file_path": {"type": "string"},
                    "content_type": {"type": "string"},
                    "expected_hash": {"type": "string"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            }
        }
    }
}
_KNOWN: dict[str, Any] = {"model": shapes.Asset, "description": "The bytes were there; this is one more asset of them."}


class Assets:
    """The routes over one queue; `folders` are those that files may be registered from by their path."""

    def __init__(
        self, queue: Queue, sites: Sites, delivered: Delivered, folders: Sequence[Path], max_bytes: int
    ) -> None:
        self._queue = queue
        self._sites = sites
        self._delivered = delivered
        self._folders = [folder.resolve() for folder in folders]
        self._max_bytes = max_bytes

    def router(self) -> APIRouter:
        """The routes, without their prefix."""
        router = APIRouter(route_class=BoundedRoute, tags=["assets"])
        add = router.add_api_route
        made: dict[str, Any] = {"status_code": 201, "response_model": shapes.Asset, "responses": {200: _KNOWN}}
        add("/assets/from-hash", self.from_hash, methods=["POST"], **made)
        add("/assets/from-path", self.from_path, methods=["POST"], **made)
        add("/assets/by-hash/{digest}", self.has, methods=["HEAD"])
        add("/assets/{asset_id}", self.get, methods=["GET"], response_model=shapes.Asset)
        add("/assets/{asset_id}", self.delete, methods=["DELETE"], status_code=204)
        add("/assets/{asset_id}/content", self.content, methods=["GET"])
        add("/assets/{asset_id}/content", self.content, methods=["HEAD"], include_in_schema=False)
        upload = APIRouter(tags=["assets"])  # its body is a stream, not JSON
        upload.add_api_route(
            "/assets",
            self.upload,
            methods=["POST"],
            **made,
            openapi_extra={"requestBody": _UPLOAD},
        )
        router.include_router(upload)
        return router

    async def upload(self, request: Request) -> Response:
        """Store a file: as multipart, with `file` and `file_path`, and where wanted `content_type`, `expected_hash`
        and `tags`. Bytes that one's files have already are kept once (200 instead of 201)."""
        owner = principal(request).id
        async with receive(request, self._queue.files, self._max_bytes) as got:
            expected = got.fields.get("expected_hash", "").lower()
            kept = await self._queue.files.keep(got.path)
        if expected and expected != _HASH + kept.hash:
            raise ApiError(409, "hash_mismatch", "The file that came does not have the hash that was said.")
        name = got.fields.get("file_path") or got.filename
        asset = await self._queue.assets.add(owner, kept, name, got.content_type(name), got.tags)
        return await self._created(request, asset)

    async def from_hash(self, request: Request, body: shapes.FromHash) -> Response:
        """Another asset over bytes that one has already."""
        digest = _digest(body.hash)
        try:
            asset = await self._queue.assets.mint(principal(request).id, digest, body.file_path, body.tags)
        except UnknownAssetError as error:
            raise ApiError(404, "blob_not_found", "You have no file of this hash.") from error
        return await self._created(request, asset)

    async def from_path(self, request: Request, body: shapes.FromPath) -> Response:
        """Store a file of the server's own disk, from a folder that its operator named."""
        source = self._allowed(body.path)
        kept = await self._queue.files.copy(source)
        name = body.file_path or source.name
        mime = body.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return await self._created(request, await self._queue.assets.add(principal(request).id, kept, name, mime))

    async def has(self, request: Request, digest: str) -> Response:
        """Whether one has a file of this BLAKE3: 200 or 404."""
        owner = principal(request).id
        there = digest.startswith(_HASH) and await self._queue.assets.has(owner, digest.removeprefix(_HASH).lower())
        return Response(status_code=200 if there else 404)

    async def get(
        self,
        request: Request,
        asset_id: str,
        delivered: bool = Query(False, description="Also where it was copied to, as a link of that bucket."),
    ) -> shapes.Asset:
        """What is known of an asset, with a fresh address of its content."""
        shown = await self._shown(request, await self._asset(request, asset_id), created=False)
        if delivered:
            shown.delivered_url = await self._delivered.link(asset_id, self._sites.lifetime)
        return shown

    async def content(self, request: Request, asset_id: str) -> Response:
        """The bytes of an asset, whole or the ranges that were asked for."""
        return asset_response(request, self._queue.files, await self._asset(request, asset_id))

    async def delete(self, request: Request, asset_id: str) -> Response:
        """Take an asset away. An output goes with its job."""
        await self._asset(request, asset_id)
        await self._queue.assets.delete(asset_id, owner_seen(request))
        return Response(status_code=204)

    async def _asset(self, request: Request, asset_id: str) -> Asset:
        if not views.is_uuid(asset_id):
            raise ApiError(404, "not_found", "There is no such asset.")
        return await self._queue.assets.get(asset_id, owner_seen(request))

    def _allowed(self, text: str) -> Path:
        if not self._folders:
            raise ApiError(422, "invalid_request", "No folder of this server may be registered from.")
        try:
            path = Path(text).resolve(strict=True)
            inside = any(path.is_relative_to(folder) for folder in self._folders)
        except (OSError, RuntimeError, ValueError):
            inside = False
        if not inside or not path.is_file():  # one answer for both: what lies elsewhere is not told
            raise ApiError(404, "blob_not_found", "There is no such file in the folders that may be registered from.")
        return path

    async def _created(self, request: Request, asset: Asset) -> Response:
        shown = await self._shown(request, asset, created=True)
        return JSONResponse(shown.model_dump(), 201 if asset.created_new else 200)

    async def _shown(self, request: Request, asset: Asset, *, created: bool) -> shapes.Asset:
        site = await self._sites.of(request)
        return shapes.Asset(
            id=asset.id,
            hash=f"{_HASH}{asset.hash}" if asset.hash else None,
            size_bytes=asset.size,
            content_type=asset.mime,
            file_path=asset.name,
            tags=list(asset.tags),
            created_new=asset.created_new if created else None,
            created_at=views.iso(asset.created_at),
            job_id=asset.job,
            **site.link(asset.id),
        )


def _digest(text: str) -> str:
    found = text.lower().removeprefix(_HASH)
    if not text.lower().startswith(_HASH) or len(found) != 64 or not set(found) <= set("0123456789abcdef"):
        raise ApiError(400, "invalid_request", "`hash` is not of the form blake3:HEX.")
    return found
