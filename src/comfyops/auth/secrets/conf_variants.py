"""The documented forms of `comfyui_auth_tokens.conf`, and of the files beside it, read into one value.

    A   JSON with `locations`: [{name, path (absolute), type: bcrypt|env, content}]
    B   JSON with `services`: {NAME: {locations: [{type: secrets_file|env_file|docker_secrets, path}]}}
    C   raw_token, bcrypt_hash and `target_files`: as JSON, or as lines `name: value`

The copies of a secret inside of A's `content` are not believed: `raw_token` and `bcrypt_hash` are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from comfyops.auth.secrets import env_file, strength
from comfyops.auth.secrets.formats import FORMATS
from comfyops.errors import SecretsError

HASH_KEYS = ("COMFYUI_API_TOKEN", "COMFYUI_BEARER_TOKEN", "COMFYUI_AUTH_TOKEN", "QWEN_API_USER_TOKEN", "QWEN_API_TOKEN")
_BOM = b"\xef\xbb\xbf"  # which some editors and shells of Windows put first
RAW_KEYS = ("COMFYUI_RAW_TOKEN", "COMFYUI_PASSWORD")
_DECORATION = " \t├└│─|`+-"  # of lists and of trees
_LINE = re.compile(r"^[\s├└│─|`+-]*(?P<key>\w+)\s*[:=](?P<value>.*)$")
_ENV_KEYS = {
    "env_main": {"COMFYUI_API_TOKEN": "hash", "COMFYUI_RAW_TOKEN": "password"},
    "docker_env": {"COMFYUI_BEARER_TOKEN": "hash"},
    "services": {
        "COMFYUI_API_TOKEN": "hash",
        "COMFYUI_BEARER_TOKEN": "hash",
        "QWEN_API_USER_TOKEN": "hash",
        "COMFYUI_RAW_TOKEN": "password",
        "COMFYUI_PASSWORD": "password",
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """A file that the old tools kept in step: its path as they wrote it, our format, and fields by key."""

    path: str
    format: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What a file of the old tools holds; `kind` names the form, such as `conf A`."""

    kind: str
    hash: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    username: str | None = None
    places: tuple[Place, ...] = ()
    problems: tuple[str, ...] = ()


def read(name: str, data: bytes) -> Found:
    """Read a file by its name: PASSWORD, `.env` (also `.env.generated`), `*.token`, else a conf.

    Raises SecretsError where it is none of these.
    """
    if name == "PASSWORD":
        return password_file(data)
    if name == ".env" or name.startswith(".env.") or name.endswith(".env"):
        return env(data)
    return token(data) if name.endswith(".token") else conf(data)


def password_file(data: bytes) -> Found:
    """The PASSWORD file of ComfyUI-Login."""
    held = FORMATS["comfyui-login-password"].read(data.removeprefix(_BOM))
    known_hash, name = _text(held.get("hash")), held.get("username")
    if known_hash is None:
        problem = "its first line is empty: the ComfyUI-Login that reads it lets everybody in"
        return Found("PASSWORD", problems=(problem,))
    return Found("PASSWORD", known_hash, username=None if name and strength.looks_hashed(name) else name)


def token(data: bytes) -> Found:
    """A file of one token: a hash, or a raw token."""
    value = (FORMATS["token"].read(data.removeprefix(_BOM)).get("token") or "").strip()
    return Found("token", *_split(value or None))


def env(data: bytes) -> Found:
    """The documented variables of an `.env`; one secret has seven names there."""
    read = env_file.loads(data)
    held, compose = read.literal(), read.effective()
    problems, hashes, raws = [], [], []
    for key in (*HASH_KEYS, *RAW_KEYS):
        seen = compose.get(key) or ""  # a hash may be written for Compose, with `$$`
        value, doubled = _undoubled(key, seen if strength.looks_hashed(seen) else held.get(key, ""))
        if doubled:
            problems.append(f"{key} repeats its own name in its value")
        known_hash, raw = _split(value or None)
        hashes += [known_hash] if known_hash else []
        raws += [raw] if raw else []
    if len(set(hashes)) > 1 or len(set(raws)) > 1:
        problems.append("its variables disagree")
        hashes, raws = [], []
    name = held.get("COMFYUI_USERNAME") or None
    return Found("env", _first(hashes), _first(raws), name, problems=tuple(problems))


def conf(data: bytes) -> Found:
    """A `comfyui_auth_tokens.conf` of any form. Raises SecretsError."""
    top = _parsed(data)
    known_hash, raw = (_text(top.get(key)) for key in ("bcrypt_hash", "raw_token"))
    if known_hash is None and raw is None:
        raise SecretsError("This file has neither a bcrypt_hash nor a raw_token; it is no comfyui_auth_tokens.conf.")
    for kind, key, places in (
        ("A", "locations", _locations),
        ("B", "services", _services),
        ("C", "target_files", _files),
    ):
        if key in top:
            return Found(f"conf {kind}", known_hash, raw, places=tuple(places(top[key])))
    return Found("conf C", known_hash, raw)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SecretsError("This file is not text in UTF-8.") from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = _of_lines(text)
    if not isinstance(value, dict):
        raise SecretsError("This file is no comfyui_auth_tokens.conf.")
    return value


def _of_lines(text: str) -> dict[str, Any]:
    """Lines `name: value`; a list stands in brackets, or one item a line below its name."""
    found: dict[str, Any] = {}
    items: list[str] | None = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            if items is not None:
                items += _items(line)
            continue
        value, items = _without_comment(match["value"].strip()).removesuffix(",").rstrip(), None
        if value in ("", "["):
            found[match["key"]] = items = []
        elif value.startswith("[") and value.endswith("]"):
            found[match["key"]] = _items(value)
        else:
            found[match["key"]] = _unquoted(value)
    return found


def _without_comment(value: str) -> str:
    """A value without the `# words` behind it; what stands in quotes or brackets is no comment."""
    quoted = re.match(r"([\"']).*?\1(?=,?\s*(?:#|$))", value)
    if quoted is not None:
        return quoted[0]
    return value if value.startswith("[") else value.partition(" #")[0].rstrip()


def _items(text: str) -> list[str]:
    made = [_unquoted(item.strip()) for item in text.strip(_DECORATION + "[],").split(",")]
    return [item for item in made if item and item != "..." and not item.startswith("#")]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _locations(value: Any) -> list[Place]:
    made = []
    for item in value if isinstance(value, list) else ():
        path = _text(item.get("path")) if isinstance(item, dict) else None
        if path is not None:
            name, kind = str(item.get("name")), str(item.get("type"))
            made.append(_place(path, name if kind == "env" else "", is_env=kind == "env"))
    return made


def _services(value: Any) -> list[Place]:
    made = []
    for service in value.values() if isinstance(value, dict) else ():
        for item in service.get("locations", ()) if isinstance(service, dict) else ():
            path = _text(item.get("path")) if isinstance(item, dict) else None
            if path is not None:
                made.append(_place(path, "services", is_env=item.get("type") == "env_file"))
    return made


def _files(value: Any) -> list[Place]:
    made = []
    for item in value if isinstance(value, list) else ():
        path = _text(item.get("path")) if isinstance(item, dict) else _text(item)
        if path is not None:
            is_docker = "docker" in path.lower()
            name = PurePosixPath(path.replace("\\", "/")).name
            made.append(_place(path, "docker_env" if is_docker else "env_main", is_env=name.startswith(".env")))
    return made


def _place(path: str, name: str, *, is_env: bool) -> Place:
    if is_env:
        return Place(path, "env", dict(_ENV_KEYS.get(name, _ENV_KEYS["env_main"])))
    if PurePosixPath(path.replace("\\", "/")).name == "PASSWORD":
        return Place(path, "comfyui-login-password", {"hash": "hash", "username": "username"})
    return Place(path, "token", {"token": "hash"})


def parts(path: str) -> tuple[str, ...]:
    """The names in a path of any machine, without drive and root."""
    pure = PureWindowsPath(path) if "\\" in path or re.match(r"[A-Za-z]:", path) else PurePosixPath(path)
    return tuple(part for part in pure.parts if part != pure.anchor)


def _split(value: str | None) -> tuple[str | None, str | None]:
    """A value as hash or as raw token, whatever its variable is called."""
    if value is None:
        return None, None
    return (value, None) if strength.looks_hashed(value) else (None, value)


def _undoubled(key: str, value: str) -> tuple[str, bool]:
    """The value without its key in front, which the old synchroniser wrote from its second run on."""
    doubled = value.startswith(f"{key}=")
    while value.startswith(f"{key}="):
        value = value.removeprefix(f"{key}=")
    return value.strip(), doubled


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
