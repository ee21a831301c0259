"""A bucket that is written to as S3 is: whole objects and parts, metadata, conditions. It looks at no signature."""

from __future__ import annotations

import hashlib
from xml.sax.saxutils import escape

from aiohttp import web


class SmallS3:
    """Use as `async with SmallS3("bucket") as s3:`. `objects` are bytes by key, `puts` counts what was written."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.puts = 0
        self.status = 0  # answer everything with it
        self.url = ""
        self._parts: dict[str, dict[int, bytes]] = {}
        self._begun: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> SmallS3:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{bucket}/{key:.+}", self._object)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _object(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        if self.status:
            return _error(self.status, "AccessDenied")
        if "Authorization" not in request.headers and "X-Amz-Signature" not in request.query:
            return _error(403, "AccessDenied")
        if request.match_info["bucket"] != self.bucket:
            return _error(404, "NoSuchBucket")
        if request.method == "POST":
            return await self._post(request, key)
        if request.method == "PUT" and "uploadId" in request.query:
            data = await request.read()
            self._parts[request.query["uploadId"]][int(request.query["partNumber"])] = data
            return web.Response(headers={"ETag": _etag(data)})
        if request.method == "PUT":
            return self._keep(key, await request.read(), _meta(request))
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        data = self.objects[key]
        headers = {**self.headers[key], "ETag": _etag(data), "Last-Modified": "Fri, 20 Nov 2026 00:00:00 GMT"}
        return web.Response(body=data, headers=headers)

    async def _post(self, request: web.Request, key: str) -> web.StreamResponse:
        if "uploads" in request.query:
            upload = f"upload{len(self._begun)}"
            self._begun[upload], self._parts[upload] = _meta(request), {}
            words = f"<UploadId>{upload}</UploadId><Key>{escape(key)}</Key><Bucket>{self.bucket}</Bucket>"
            return web.Response(text=f"<InitiateMultipartUploadResult>{words}</InitiateMultipartUploadResult>")
        parts = self._parts.pop(request.query["uploadId"])
        data = b"".join(parts[number] for number in sorted(parts))
        self._keep(key, data, self._begun[request.query["uploadId"]])
        etag = escape(_etag(data))
        return web.Response(text=f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")

    def _keep(self, key: str, data: bytes, headers: dict[str, str]) -> web.Response:
        self.objects[key], self.headers[key] = data, headers
        self.puts += 1
        return web.Response(headers={"ETag": _etag(data)})


def _meta(request: web.Request) -> dict[str, str]:
    kept = {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("x-amz-meta-")}
    return {**kept, "Content-Type": request.headers.get("Content-Type", "application/octet-stream")}


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _error(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")
