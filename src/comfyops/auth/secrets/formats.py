"""The formats of targets: how each file's keys are read, and how they are written with the rest of it kept.

Adding one is a class here and a line in FORMATS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from comfyops.auth.secrets import env_file, json_file
from comfyops.errors import SecretsError


class Format(Protocol):
    """What a format can do; `data` None stands for a file that is not there. All raise SecretsError."""

    needed: tuple[str, ...]  # keys without which there must be no such file: an empty one lets everybody in

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """Refuse keys that such a file cannot have."""

    def read(self, data: bytes | None) -> Mapping[str, str | None]:
        """The file's keys; None for one whose value its readers do not understand."""

    def write(self, data: bytes | None, values: Mapping[str, str | None]) -> bytes:
        """The file with these keys set (None: removed) and everything else as it was."""


class Env:
    """`KEY=value` lines, for Compose, shells and dotenv."""

    needed: tuple[str, ...] = ()

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """Names of environment variables."""
        if not all(env_file.KEY.fullmatch(key) for key in keys):
            raise SecretsError("A key of an env target is not the name of an environment variable.")

    def read(self, data: bytes | None) -> Mapping[str, str | None]:
        """What Compose reads."""
        return env_file.loads(data or b"").effective()

    def write(self, data: bytes | None, values: Mapping[str, str | None]) -> bytes:
        """Only the lines of these keys change."""
        made = env_file.loads(data or b"")
        now = made.effective()
        for key, value in values.items():
            if value is None or key not in now or now[key] != value:
                made = made.with_value(key, value)
        return made.dumps()


class Token:
    """One line and nothing else; a line end that is there stays."""

    needed: tuple[str, ...] = ("token",)

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """Just `token`."""
        if keys != ("token",):
            raise SecretsError("A token target has exactly one key: token.")

    def read(self, data: bytes | None) -> Mapping[str, str | None]:
        """The file's text without its line end."""
        text = json_file.text_of(data)
        return {"token": text.rstrip("\r\n")} if text else {}

    def write(self, data: bytes | None, values: Mapping[str, str | None]) -> bytes:
        """The token, with the line end the file had."""
        found = re.search(r"[\r\n]*\Z", json_file.text_of(data))
        return (_one_line(values.get("token")) + (found[0] if found else "")).encode()


class ComfyUILoginPassword:
    """The PASSWORD file of ComfyUI-Login: the bcrypt hash in its first line, the user's name in the second."""

    needed: tuple[str, ...] = ("hash",)

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """`hash`, and perhaps `username`."""
        if "hash" not in keys or set(keys) - {"hash", "username"}:
            raise SecretsError("A comfyui-login-password target has the keys hash and, where wanted, username.")

    def read(self, data: bytes | None) -> Mapping[str, str | None]:
        """The first two lines; a carriage return behind the hash belongs to it, and no password opens that one."""
        first, *more = json_file.text_of(data).split("\n")
        found = {"hash": first, "username": more[0].strip() if more else ""}
        return {key: line for key, line in found.items() if line}

    def write(self, data: bytes | None, values: Mapping[str, str | None]) -> bytes:
        """Those lines anew; further ones stay. Without a line end, as ComfyUI-Login writes it."""
        now = {**self.read(data), **values}
        lines = [_one_line(now.get("hash")), _one_line(now.get("username"))]
        return "\n".join([*lines, *json_file.text_of(data).split("\n")[2:]]).encode()


class Json:
    """Members of a JSON object; dots in a key lead into nested objects."""

    needed: tuple[str, ...] = ()

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """No empty names, and none inside of another."""
        inside = any(one != other and other.startswith(one + ".") for one in keys for other in keys)
        if inside or not all(all(key.split(".")) for key in keys):
            raise SecretsError("Keys of a json target are names joined by dots, none inside of another.")

    def read(self, data: bytes | None) -> Mapping[str, str | None]:
        """All texts of the object, by their dotted names."""
        return dict(_leaves(json_file.loads(data), ""))

    def write(self, data: bytes | None, values: Mapping[str, str | None]) -> bytes:
        """The object with these members; only theirs are bytes that change."""
        made, there = data or b"", self.read(data)
        for key, value in values.items():
            if key not in there or there[key] != value:
                made = json_file.with_value(made, key.split("."), value)
        return made


def _leaves(value: Mapping[str, Any], before: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _leaves(item, f"{before}{key}.")
        else:
            found.append((f"{before}{key}", item if isinstance(item, str) else None))
    return found


def _one_line(value: str | None) -> str:
    if value is not None and re.search(r"[\r\n\0]", value):
        raise SecretsError("A value of several lines does not fit into one line of a target.")
    return value or ""


FORMATS: Mapping[str, Format] = {
    "env": Env(),
    "token": Token(),
    "comfyui-login-password": ComfyUILoginPassword(),
    "json": Json(),
}
