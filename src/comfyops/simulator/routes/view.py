"""/view: the files that nodes and uploads wrote, whole or re-encoded."""

from __future__ import annotations

import io
import mimetypes
from pathlib import Path

from aiohttp import web
from PIL import Image

from comfyops.simulator.files import RefusedPathError
from comfyops.simulator.machine import machine

_ACTIVE = {
    "text/html",
    "text/html-sandboxed",
    "application/xhtml+xml",
    "text/javascript",
    "application/javascript",
    "text/css",
    "image/svg+xml",
    "application/xml",
    "text/xml",
}
"""Content that a browser would run; 0.33.0 serves it as a download."""

_ACTIVE_OLDER = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}


async def get_view(request: web.Request) -> web.StreamResponse:
    """A file by name, type and subfolder; `preview` and `channel` re-encode pictures."""
    query = request.query
    if "filename" not in query or query["filename"].startswith("blake3:"):
        return web.Response(status=404)
    try:
        path = machine(request).folders.view(query["filename"], query.get("type", "output"), query.get("subfolder"))
    except RefusedPathError as refused:
        return web.Response(status=refused.status)
    if "preview" in query:
        return _preview(path, query["preview"], query.get("channel", ""))
    if query.get("channel") in ("rgb", "a"):
        return _channel(path, query["channel"])
    return _file(request, path, modern=machine(request).modern)


def content_type(name: str) -> str:
    """The kind of content that a name means, the same on every machine where it matters."""
    if name.endswith(".js"):
        return "application/javascript"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def is_active(content_type: str, *, modern: bool) -> bool:
    """Whether a browser would run this kind of content."""
    return content_type in (_ACTIVE if modern else _ACTIVE_OLDER)


def _file(request: web.Request, path: Path, *, modern: bool) -> web.FileResponse:
    kind = content_type(path.name)
    if modern:
        headers = _modern_headers(path.name, kind, request.headers.get("Sec-Fetch-Dest", ""))
    else:
        headers = {"Content-Disposition": f'filename="{path.name}"'}
        headers["Content-Type"] = "application/octet-stream" if is_active(kind, modern=False) else kind
        if path.suffix == ".js":
            headers["Content-Type"] += "; charset=utf-8"
    return web.FileResponse(path, headers=headers)


def _modern_headers(name: str, kind: str, destination: str) -> dict[str, str]:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    headers = {"X-Content-Type-Options": "nosniff"}
    disposition = f'filename="{quoted}"'
    if is_active(kind, modern=True):
        headers |= {"Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}
        if not (kind == "image/svg+xml" and destination == "image"):
            kind, disposition = "application/octet-stream", f"attachment; {disposition}"
    return headers | {"Content-Disposition": disposition, "Content-Type": kind}


def _preview(path: Path, wanted: str, channel: str) -> web.Response:
    parts = wanted.split(";")
    kind = parts[0] if parts[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(parts[-1]) if parts[-1].isdigit() else 90
    with Image.open(path) as picture:
        flat = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        return _picture(flat, kind, path.name, quality=quality)


def _channel(path: Path, channel: str) -> web.Response:
    with Image.open(path) as picture:
        if channel == "rgb":
            return _picture(picture.convert("RGB"), "png", path.name)
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
        result = Image.new("RGBA", picture.size)
        result.putalpha(alpha)
        return _picture(result, "png", path.name)


def _picture(picture: Image.Image, kind: str, name: str, **options: int) -> web.Response:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    headers = {"Content-Disposition": f'filename="{name}"'}
    return web.Response(body=buffer.getvalue(), content_type=f"image/{kind}", headers=headers)


ROUTES = [web.get("/view", get_view)]
