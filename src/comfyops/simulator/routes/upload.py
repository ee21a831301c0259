"""/upload: pictures and masks for loader nodes (and files of any other kind)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyops.simulator.files import Folders, RefusedPathError
from comfyops.simulator.machine import machine
from comfyops.simulator.routes.answers import json_answer
from comfyops.simulator.submission import ServerTroubleError
from comfyops.support.files import write_bytes

Save = Callable[[Path, bytes], None]


@dataclass(frozen=True)
class FormFile:
    """A file inside a form."""

    filename: str
    data: bytes


Form = Mapping[str, str | FormFile]


async def upload_image(request: web.Request) -> web.Response:
    """Save a file under its name, or under "name (1).ext" where another file has that name."""
    return _upload(machine(request).folders, await read_form(request), _write)


async def upload_mask(request: web.Request) -> web.Response:
    """Save a picture that was uploaded before, with the alpha channel of this one."""
    folders, form = machine(request).folders, await read_form(request)

    def save(path: Path, data: bytes) -> None:
        _save_masked(folders, form, path, data)

    return _upload(folders, form, save)


async def read_form(request: web.Request) -> Form:
    """The fields of a form, files in memory.

    Raises HTTPRequestEntityTooLarge, and ValueError for a broken multipart body.
    """
    if request.content_type != "multipart/form-data":
        return {name: str(value) for name, value in (await request.post()).items()}
    form: dict[str, str | FormFile] = {}
    left = request.client_max_size
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise ServerTroubleError("a part of the form has no name")
        data = await _part(part, left)
        left -= len(data)
        form[part.name] = data.decode() if part.filename is None else FormFile(part.filename, data)
    return form


async def _part(part: BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(2**18):
        data += chunk
        if len(data) > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(data))
    return bytes(data)


def _upload(folders: Folders, form: Form, save: Save) -> web.Response:
    field = form.get("image")
    if not field:
        return web.Response(status=400)
    if isinstance(field, str) or not field.filename:
        raise ServerTroubleError("the image is no file")
    kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
    try:
        path = folders.upload(field.filename, kind, subfolder)
    except RefusedPathError as refused:
        if refused.status == 500:
            raise ServerTroubleError("the type is not known") from refused
        return web.Response(status=refused.status)
    data, name = field.data, field.filename
    if form.get("overwrite") not in ("true", "1"):
        name, path = _free_name(field.filename, path, data)
    _check_parent(folders, kind, subfolder, path)
    if path.is_dir():
        raise ServerTroubleError("there is a folder of that name")
    if not (path.is_file() and path.read_bytes() == data and save is _write):
        save(path, data)
    return json_answer({"name": name, "subfolder": subfolder, "type": kind})


def _check_parent(folders: Folders, kind: str, subfolder: str, path: Path) -> None:
    """The server makes the subfolder that is asked for, but none that is part of the file's name."""
    folders.upload("x", kind, subfolder).parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir():
        raise ServerTroubleError("the folder does not exist")


def _free_name(name: str, path: Path, data: bytes) -> tuple[str, Path]:
    """The name, or the first free one with a number; a file with the same bytes counts as free."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        stem, suffix = name, ""
    folder = path.parent
    number = 1
    while path.exists() and not (path.is_file() and path.read_bytes() == data):
        name = f"{stem} ({number}){'.' + suffix if suffix else ''}"
        path = folder / name
        number += 1
    return name, path


def _write(path: Path, data: bytes) -> None:
    write_bytes(path, data)


def _save_masked(folders: Folders, form: Form, path: Path, mask: bytes) -> None:
    """Saves nothing, without a word, where the original is not found (as the real server)."""
    if "original_ref" not in form:
        raise ServerTroubleError("original_ref is missing")
    reference = json.loads(str(form["original_ref"]))
    try:
        original = folders.view(
            reference["filename"], reference.get("type", "output"), reference.get("subfolder") or None
        )
    except RefusedPathError:
        return
    with Image.open(original) as picture, Image.open(io.BytesIO(mask)) as alpha:
        info = PngInfo()
        for key, value in getattr(picture, "text", {}).items():
            info.add_text(key, value)
        result = picture.convert("RGBA")
        result.putalpha(alpha.convert("RGBA").getchannel("A"))
        buffer = io.BytesIO()
        result.save(buffer, format=(path.suffix[1:] or "png").replace("jpg", "jpeg"), pnginfo=info)
    write_bytes(path, buffer.getvalue())


ROUTES = [web.post("/upload/image", upload_image), web.post("/upload/mask", upload_mask)]
