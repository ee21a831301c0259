"""One model of a catalog: what it is called, where it belongs, where it comes from, and what its bytes must be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from comfyops.errors import CatalogError, UnsafeNameError
from comfyops.models.folders import EXTENSIONS, KNOWN, canonical
from comfyops.support.files import safe_name

ENDINGS = EXTENSIONS | {".gguf", ".onnx", ".yaml", ".json"}
"""Endings that a model's file may have; anything else is no model, and is never written among them."""

CARD_SIZES = (8, 12, 16, 24, 32, 48, 80)
"""Sizes of graphics cards in GB, for `vram_class`."""

_FIELDS = frozenset(
    [
        *("file", "folder", "url", "urls", "size", "sha256", "licence", "gated"),
        *("required_in", "optional_in", "page", "note", "variants"),
    ]
)
_SCHEMES = ("https", "http", "file", "s3", "gs", "az")
SAFE = "%/:=&?~#+!$,;'@()*[]|"
"""Signs of an address that are sent as they are; all else than letters and digits is escaped."""

_CIVITAI_PAGE = re.compile(r"/models/\d+(/[^/]*)?")
_MOST_LETTERS = 500  # of a file's name with the folders before it: more than any system takes
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model file.

    `folder` is ComfyUI's present name of the folder, `file` the name below it as nodes know it (may hold "/"). `urls`
    are addresses of the same file, best first. `size` (bytes), `sha256` (64 hex digits), `licence` and `gated` are None
    where nobody is known to have said; the source is asked then. `required_in` and `optional_in` name groups.
    `variants` are (size, SHA-256) of other files that circulate under this name and are as good: kept where they are
    found, never fetched.
    """

    folder: str
    file: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    licence: str | None = None
    gated: bool | None = None
    required_in: tuple[str, ...] = ()
    optional_in: tuple[str, ...] = ()
    page: str | None = None
    note: str = ""
    variants: tuple[tuple[int, str], ...] = ()

    @property
    def id(self) -> str:
        """What identifies it: folder and file."""
        return f"{self.folder}/{self.file}"

    @property
    def name(self) -> str:
        """Its short name: the file's, without folders and ending."""
        return PurePosixPath(self.file).stem

    @property
    def vram_class(self) -> int | None:
        """GB of the smallest usual card that holds these weights whole, with a tenth to spare; None where the size is
        not known or no card does. ComfyUI runs larger ones too, part by part and slower.
        """
        if self.size is None:
            return None
        return next((card for card in CARD_SIZES if self.size * 1.1 <= card * 10**9), None)

    def as_found(self, size: int) -> ModelEntry:
        """The entry as it is to be judged for a file of this size: as the variant that has it, if there is one."""
        known = next((item for item in self.variants if item[0] == size != self.size), None)
        return self if known is None else replace(self, size=known[0], sha256=known[1])

    def with_facts(self, size: int | None, sha256: str | None) -> ModelEntry:
        """The entry with size and hash where it has none."""
        return replace(self, size=self.size if self.size is not None else size, sha256=self.sha256 or sha256)

    def contradicts(self, size: int | None, sha256: str | None) -> bool:
        """Whether a file of this size and hash cannot be this one; what is None says nothing."""
        pairs = ((self.size, size), (self.sha256, sha256))
        return any(mine is not None and other is not None and mine != other for mine, other in pairs)


def merged(first: ModelEntry, second: ModelEntry) -> ModelEntry:
    """Two entries of one file as one: the first counts where both say something; every address and group is kept.

    Where they promise other bytes, the addresses, size and hash of the second are those of another file: left out.
    """
    if first.contradicts(second.size, second.sha256):
        second = replace(second, urls=(), size=None, sha256=None, variants=())
    same = {_place(url) for url in first.urls}
    required = tuple(dict.fromkeys(first.required_in + second.required_in))
    optional = dict.fromkeys(first.optional_in + second.optional_in)
    return replace(
        first.with_facts(second.size, second.sha256),
        urls=first.urls + tuple(url for url in second.urls if _place(url) not in same),
        licence=first.licence or second.licence,
        gated=first.gated if first.gated is not None else second.gated,
        required_in=required,
        optional_in=tuple(name for name in optional if name not in required),
        page=first.page or second.page,
        note=first.note or second.note,
        variants=tuple(dict.fromkeys(first.variants + second.variants)),
    )


def parse(data: Any, where: str) -> ModelEntry:
    """An entry from JSON or YAML.

    Raises CatalogError naming what is wrong with it, UnsafeNameError for a name that would leave the models folder.
    """
    if not isinstance(data, Mapping):
        raise CatalogError(f"{where}: a model is an object with at least 'file' and 'folder'.")
    unknown = sorted(str(name) for name in data if name not in _FIELDS)
    if unknown:
        raise CatalogError(f"{where}: {unknown[0]!r} is no field of a model; there are {', '.join(sorted(_FIELDS))}.")
    urls = data.get("urls") or ([data["url"]] if data.get("url") else [])
    entry = ModelEntry(
        folder=_folder(_text(data, "folder", where), where),
        file=_file(_text(data, "file", where), where),
        urls=tuple(_url(item, where) for item in _texts(urls, "urls", where)),
        size=_size(data.get("size"), where),
        sha256=_sha256(data.get("sha256"), where),
        licence=_optional(data, "licence", str, where),
        gated=_optional(data, "gated", bool, where),
        required_in=_texts(data.get("required_in") or [], "required_in", where),
        optional_in=_texts(data.get("optional_in") or [], "optional_in", where),
        page=_optional(data, "page", str, where),
        note=_optional(data, "note", str, where) or "",
        variants=_variants(data.get("variants") or [], where),
    )
    return entry


def written(entry: ModelEntry) -> dict[str, Any]:
    """What `parse` reads back as the same entry; fields that say nothing are left out."""
    data = {
        "folder": entry.folder,
        "file": entry.file,
        "urls": list(entry.urls),
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "gated": entry.gated,
        "required_in": list(entry.required_in),
        "optional_in": list(entry.optional_in),
        "page": entry.page,
        "note": entry.note,
        "variants": [{"size": size, "sha256": digest} for size, digest in entry.variants],
    }
    return {name: value for name, value in data.items() if value not in (None, "", [])}


def normal_url(url: str) -> str:
    """The address of the file itself: what people copy from a page shows the file (`/blob/`) or a model's version.

    Letters that an address cannot hold are escaped.
    """
    url = quote(url.strip(), safe=SAFE)
    parts = urlsplit(url)
    host = "" if parts.username else (parts.hostname or "")
    if host in ("huggingface.co", "hf.co", "www.huggingface.co"):
        path = parts.path.replace("/blob/", "/resolve/", 1)
        return f"https://huggingface.co{path}"
    version = parse_qs(parts.query).get("modelVersionId", [""])[0]
    if host in ("civitai.com", "www.civitai.com") and _CIVITAI_PAGE.fullmatch(parts.path) and version.isdecimal():
        return f"https://civitai.com/api/download/models/{version}"
    return url


def _url(url: str, where: str) -> str:
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in _SCHEMES and (parts.hostname or parts.path) and parts.port != 0
    except ValueError:
        known = False
    if not known or any(unicodedata.category(char) in ("Cc", "Cs") for char in url.strip()):
        raise CatalogError(f"{where}: {url[:120]!r} is no address of a file.")
    return normal_url(url)


def _place(url: str) -> str:
    """The address without its revision: the same file at another commit is no second source."""
    return re.sub(r"/resolve/[^/]+/", "/resolve/", url, count=1)


def _folder(name: str, where: str) -> str:
    if not _FOLDER.fullmatch(name):
        raise UnsafeNameError(f"{where}: {name[:80]!r} is no name of a models folder.", name=name)
    _safe(name, where)
    return canonical(name.lower() if name.lower() in KNOWN else name)


def _file(name: str, where: str) -> str:
    parts = name.split("/")
    if not all(parts) or len(name) > _MOST_LETTERS:
        raise UnsafeNameError(f"{where}: {name[:120]!r} is no name of a file below a models folder.", name=name)
    for part in parts:
        _safe(part, where)
    if PurePosixPath(name).suffix.lower() not in ENDINGS:
        raise CatalogError(f"{where}: {name[:120]!r} has no ending of a model file, such as .safetensors.")
    return name


def _safe(name: str, where: str) -> None:
    try:
        safe_name(name)
    except UnsafeNameError as error:
        raise UnsafeNameError(f"{where}: {error.message[0].lower()}{error.message[1:]}", name=name) from error


def _text(data: Mapping[str, Any], field: str, where: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value.strip():
        raise CatalogError(f"{where}: {field!r} is missing or no text.")
    return value.strip()


def _texts(value: Any, field: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise CatalogError(f"{where}: {field!r} is no list of texts.")
    return tuple(value)


def _optional(data: Mapping[str, Any], field: str, kind: type[Any], where: str) -> Any:
    value = data.get(field)
    if value is not None and not isinstance(value, kind):
        raise CatalogError(f"{where}: {field!r} is no {'text' if kind is str else 'true or false'}.")
    return value


def _size(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CatalogError(f"{where}: 'size' is no number of bytes.")
    return value


def _variants(value: Any, where: str) -> tuple[tuple[int, str], ...]:
    found = []
    for item in value if isinstance(value, list) else [None]:
        said = item if isinstance(item, Mapping) else {}
        size, digest = _size(said.get("size"), where), _sha256(said.get("sha256"), where)
        if size is None or digest is None:
            raise CatalogError(f"{where}: 'variants' is no list of objects with 'size' and 'sha256'.")
        found.append((size, digest))
    return tuple(found)


def _sha256(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _SHA256.fullmatch(value.strip().lower()):
        raise CatalogError(f"{where}: 'sha256' is not 64 hexadecimal digits.")
    return value.strip().lower()
