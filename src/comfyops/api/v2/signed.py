"""Addresses of files that need no credential: signed, for a time; and the route that serves them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from comfyops.api.v2.faults import ApiError
from comfyops.api.v2.ranges import asset_response
from comfyops.api.v2.requests import base
from comfyops.api.v2.views import Site
from comfyops.errors import UnknownAssetError
from comfyops.jobs import links
from comfyops.jobs.links import Verdict
from comfyops.jobs.queue import Queue


class Sites:
    """How the API of a queue is reached. Files are kept for `retention` seconds, links good for `lifetime`."""

    def __init__(self, queue: Queue, retention: float, lifetime: float) -> None:
        self._queue = queue
        self._retention = retention
        self.lifetime = lifetime

    async def of(self, request: Request) -> Site:
        """The site as this client came to it, for addresses that are made now. Raises DatabaseError."""
        secret = await self._queue.link_keys.secret()
        return Site(base(request), self._retention, self._queue.store.clock(), secret, self.lifetime)


class Signed:
    """The route of signed links. The link is the credential: nobody need be signed in."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def router(self) -> APIRouter:
        """The routes, without their prefix."""
        router = APIRouter(tags=["assets"])
        router.add_api_route("/signed/{asset_id}", self.content, methods=["GET"])
        router.add_api_route("/signed/{asset_id}", self.content, methods=["HEAD"], include_in_schema=False)
        return router

    async def content(self, request: Request, asset_id: str) -> Response:
        """The bytes of an asset for who has a link to it, whole or the ranges that were asked for."""
        secret, now = await self._queue.link_keys.secret(), self._queue.store.clock()
        verdict, link = links.check(asset_id, request.query_params, secret, now)
        if link is None:
            raise ApiError(403, "forbidden", "No such link was given, or it was revoked.")
        if verdict is Verdict.EXPIRED:
            raise ApiError(410, "url_expired", "The link has expired; its asset or job gives a fresh one.")
        try:
            asset = await self._queue.assets.get(link.asset)
        except UnknownAssetError as error:
            raise ApiError(410, "output_unavailable", "The file was deleted.") from error
        return asset_response(request, self._queue.files, asset, link.expires - now)
