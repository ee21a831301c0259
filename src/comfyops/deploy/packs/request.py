"""Which pack of custom nodes somebody asks for. Pure.

A pack is named by its id in the registry of packs, by its repository OWNER/NAME at GitHub, or by an address of git;
after an @ stands its pin: a whole commit, or a version, tag or branch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from comfyops.errors import UsageError
from comfyops.support.git_folders import COMMIT

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]{0,99}/[\w.-]{1,100}")
_PIN = re.compile(r"[A-Za-z0-9][\w.+/-]{0,199}")
_SSH = re.compile(r"[\w-]+@[\w.-]+:[\w./~-]+")
_SCHEMES = frozenset({"https", "ssh", "file"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

KNOWN: Mapping[str, tuple[str, str]] = {
    "comfyui-login": ("https://github.com/liusida/ComfyUI-Login", "69109257f4629a11ebe26cd65667536c4f8dddcb"),
}
"""Packs that the registry of packs has under other names: address, and the commit that was tried with ComfyOps."""


@dataclass(frozen=True, slots=True)
class PackRequest:
    """A pack: the name of its folder, its address ("" = the registry knows), its pin ("" = the newest)."""

    name: str
    url: str = ""
    pin: str = ""

    @property
    def commit(self) -> str:
        """The pin where it is a whole commit, else ""."""
        return self.pin if COMMIT.fullmatch(self.pin) else ""


def parse(text: str) -> PackRequest:
    """What NAME[@PIN] means.

    Raises UsageError for what is no name or address of a pack.
    """
    where, pin = _split(text.strip())
    if _NAME.fullmatch(where):
        return known(PackRequest(where, "", pin))
    if _REPOSITORY.fullmatch(where):
        return PackRequest(name_of(where), f"https://github.com/{where}", pin)
    return PackRequest(name_of(check_url(where)), where, pin)


def known(request: PackRequest) -> PackRequest:
    """The request, with what KNOWN says of its name."""
    found = KNOWN.get(request.name.casefold())
    if found is None or request.url:
        return request
    return replace(request, name=name_of(found[0]), url=found[0], pin=request.pin or found[1])


def is_name(text: str) -> bool:
    """Whether a text may be the name of a pack."""
    return bool(_NAME.fullmatch(text)) and ".." not in text


def check_url(url: str) -> str:
    """The address of a repository, as it is.

    Raises UsageError for anything that git should not be given: other schemes, options, plain http to other machines.
    """
    parts = urlsplit(url)
    allowed = parts.scheme in _SCHEMES or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    good = _SSH.fullmatch(url) or (allowed and parts.path.strip("/"))
    if not good or any(ord(sign) < 33 for sign in url) or not _NAME.fullmatch(name_of(url)):
        raise UsageError(f"{url[:100]!r} names no pack of nodes.", hint=_HINT)
    return url


def name_of(url: str) -> str:
    """The name that a repository's folder gets."""
    return url.rstrip("/").replace("\\", "/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")


def _split(text: str) -> tuple[str, str]:
    """What stands before and after the @ of the pin; one inside an address is none."""
    where, _, pin = text.rpartition("@")
    names_pack = _NAME.fullmatch(where) or _REPOSITORY.fullmatch(where) or _SSH.fullmatch(where)
    is_pin = _PIN.fullmatch(pin) and ".." not in pin and (names_pack or urlsplit(where).path.strip("/"))
    return (where, pin) if is_pin else (text, "")


_HINT = "Give NAME, OWNER/NAME or an https address, with @COMMIT or @VERSION to pin it."
