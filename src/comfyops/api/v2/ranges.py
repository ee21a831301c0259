"""Bytes of a kept file: whole, or the range that was asked for (RFC 9110)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import FileResponse

from comfyops.api.v2.faults import ApiError, answer
from comfyops.errors import MissingFileError
from comfyops.jobs.asset_records import Asset
from comfyops.jobs.files import Files

_DIGITS = 18  # of a place in a file; Python reads no number of thousands of them
_ACTIVE = ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml", "text/javascript")


_YEAR = 365 * 86_400


def asset_response(request: Request, files: Files, asset: Asset, seconds: float = _YEAR) -> Response:
    """The bytes of an asset, which clients may keep for `seconds`. Raises ApiError where they are no longer here."""
    if not asset.hash:
        return text_response(request, asset.text)
    try:
        path = files.path(asset.hash)
    except MissingFileError as error:
        raise ApiError(410, "output_unavailable", "The bytes of this asset are no longer kept.") from error
    return file_response(request, path, asset.mime, asset.name, asset.hash, seconds)


def file_response(request: Request, path: Path, mime: str, name: str, digest: str, seconds: float = _YEAR) -> Response:
    """A file by its content: it never changes, so clients may keep it. A range outside of it gets 416."""
    size = path.stat().st_size
    wanted = request.headers.get("range", "")
    if _unsatisfiable(wanted, size):
        error = ApiError(416, "range_not_satisfiable", "The range is not within the file.", size_bytes=size)
        error.headers["Content-Range"] = f"bytes */{size}"
        return answer(error)
    headers = {
        "ETag": f'"{digest}"',
        "Cache-Control": f"private, max-age={int(seconds)}, immutable",
        "Content-Disposition": _disposition(mime, name),
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match", "").strip() in (f'"{digest}"', "*"):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=mime)


def text_response(request: Request, text: str) -> Response:
    """An output that is a text."""
    return Response(
        text.encode(), media_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"}
    )


def _disposition(mime: str, name: str) -> str:
    """Pictures and the like are shown; what a browser might carry out is only ever saved."""
    way = "attachment" if mime.partition(";")[0].strip().lower() in _ACTIVE else "inline"
    return f"{way}; filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}"


def _unsatisfiable(wanted: str, size: int) -> bool:
    """Whether a single range, well formed, begins behind the end (Starlette serves all others)."""
    unit, _, spec = wanted.partition("=")
    first, dash, _ = spec.partition("-")
    first = first.strip()
    if unit.strip().lower() != "bytes" or not dash or not (first.isascii() and first.isdigit()):
        return False
    digits = first.lstrip("0")
    return len(digits) > _DIGITS or int(digits or "0") >= size
