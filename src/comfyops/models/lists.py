"""Lists of models that other tools keep, read as entries.

Known: plain lists of links (StoryCore's `models_links.txt`: addresses, with folders in words or paths near them),
comfy-lock.yaml as comfy-cli's page describes it (`models` with `model`, `url`, `paths`, `hashes`) and comfy-pack's
snapshots (`models` with `filename`, `sha256`, `size`, `source`). Other formats are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from comfyops.errors import CatalogError, ComfyOpsError
from comfyops.models.catalog import Catalog
from comfyops.models.entry import ENDINGS, ModelEntry, parse
from comfyops.models.folders import ALIASES, PACKS, SUBFOLDERS
from comfyops.support import yaml_text
from comfyops.support.files import read_bytes

_MOST_BYTES = 16 * 1024 * 1024
_URL = re.compile(r"https?://[^\s<>\"'`|)\]]+")
_NAMES = "|".join(sorted({*SUBFOLDERS, *ALIASES}, key=len, reverse=True))
_FOLDER = re.compile(rf"(?:^|[\s/\\\[(=:#-])({_NAMES})(?=$|[\s/\\\])=:,])")


@dataclass(frozen=True, slots=True)
class Unread:
    """A line or entry that could not be taken, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Read:
    """The entries of a list, and what of it could not be taken."""

    models: tuple[ModelEntry, ...]
    unread: tuple[Unread, ...] = ()


def read(file: Path, catalog: Catalog) -> Read:
    """The models of a list. A link without a folder takes the one that the catalog has for a file of its name.

    Raises MissingFileError, NotJsonError, CatalogError where it is none of the known formats.
    """
    data = read_bytes(file, _MOST_BYTES)
    text = _decoded(data)
    if file.suffix.lower() in (".yaml", ".yml", ".json"):
        value = json.loads(text) if _is_json(text) else yaml_text.loads(text, str(file))
        return _manifest(value, file, catalog)
    if not _URL.search(text):
        raise CatalogError(f"{file} holds no address of a model.", hint="Give a list of links, or a manifest.")
    return _collected(_links(text), str(file), catalog)


def _decoded(data: bytes) -> str:
    """The text of a file; editors and shells of Windows begin theirs with a mark, and PowerShell writes UTF-16."""
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if is_wide else "utf-8-sig", "replace")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _links(text: str) -> Iterator[dict[str, Any]]:
    """The addresses of a text in order, each with the folder that its line, or the nearest line before, names."""
    folder = ""
    for line in text.splitlines():
        urls = _URL.findall(line)
        words = _URL.sub(" ", line)
        named = _FOLDER.findall(words)
        folder = named[-1] if named else folder
        for url in urls:
            yield {"url": url.rstrip(".,;"), "folder": folder, "file": _file_of(url)}
        if urls and named:
            folder = ""


def _manifest(data: Any, file: Path, catalog: Catalog) -> Read:
    models = data.get("models") if isinstance(data, Mapping) else None
    if not isinstance(models, list):
        raise CatalogError(f"{file} is no manifest that is known.", hint="Known are comfy-lock.yaml and comfy-pack's.")
    items = [_manifest_item(item) if isinstance(item, Mapping) else {} for item in models]
    return _collected(items, str(file), catalog)


def _manifest_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """comfy-lock: model, url, paths, hashes; comfy-pack: filename, sha256, size, source; ours: file, folder, url."""
    paths = item.get("paths")
    first = paths[0] if isinstance(paths, list) and paths else None
    place = str((first.get("path") if isinstance(first, Mapping) else first) or item.get("filename") or "")
    path = PurePosixPath(place.replace("\\", "/").removeprefix("./").removeprefix("ComfyUI/").removeprefix("models/"))
    source = item.get("source")
    hub = source if isinstance(source, Mapping) else {}
    url = str(item.get("url") or hub.get("download_url") or hub.get("url") or "")
    hashes = item.get("hashes")
    listed = [one for one in hashes if isinstance(one, Mapping)] if isinstance(hashes, list) else []
    said = [one.get("hash") for one in listed if one.get("type") == "SHA256"]
    folder = str(item.get("folder") or (path.parts[0] if len(path.parts) > 1 else ""))
    name = str(item.get("file") or "/".join(path.parts[1:]) or item.get("model") or path.name or _file_of(url))
    digest = item.get("sha256") or (said[0] if said else None)
    return {"url": url, "folder": folder, "file": name, "sha256": digest, "size": item.get("size")}


def _collected(items: Any, where: str, catalog: Catalog) -> Read:
    models: dict[str, ModelEntry] = {}
    unread: list[Unread] = []
    for item in items:
        what = str(item.get("url") or item.get("file") or "an entry")
        try:
            entry = _entry({name: value for name, value in item.items() if value}, where, catalog)
        except ComfyOpsError as error:
            unread.append(Unread(what, error.message))
            continue
        models[entry.id] = entry
    return Read(tuple(models.values()), tuple(unread))


def _entry(item: dict[str, Any], where: str, catalog: Catalog) -> ModelEntry:
    if not item.get("file"):
        raise CatalogError("It does not name a model file; `comfyops models add URL --folder FOLDER` asks its source.")
    if item.get("folder") == PACKS:
        raise CatalogError("It belongs into a pack of custom nodes, not among the models; put it there by hand.")
    if not item.get("folder"):
        known = [entry for entry in catalog.models.values() if entry.file.rpartition("/")[2] == item.get("file")]
        if not known:
            raise CatalogError(f"No folder is named for {item.get('file') or 'it'}, and no catalog knows it.")
        item["folder"] = known[0].folder
    return parse(item, where)


def _file_of(url: str) -> str:
    """The file's name that an address ends in; of Civitai's, which end in a number, nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    name = unquote(parts.path.rpartition("/")[2])
    given = parse_qs(parts.query).get("filename", [""])[0]
    return next((item for item in (given, name) if PurePosixPath(item).suffix.lower() in ENDINGS), "")
