"""What a ComfyUI is started with, and how it is told so. Pure.

Source: the options of ComfyUI 0.33.0 (`main.py --help`): --listen takes addresses with commas, --enable-cors-header one
origin or *, and of an option that is given twice the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from comfyops.errors import UsageError

LOOPBACK = "127.0.0.1"

_OURS = {"--listen": "--listen", "--port": "--port", "--enable-cors-header": "--cors"}
_DEVICES = frozenset({"--cpu", "--directml", "--gpu-only", "--cuda-device", "--oneapi-device-selector"})
_EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "[::1]", "": LOOPBACK}
_ORIGIN = re.compile(r"https?://[^\s/?#@]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Address, allowed origins of pages (* = all), and further arguments, as they are."""

    listen: str = LOOPBACK
    port: int = 8188
    origins: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers on this machine."""
        first = self.listen.partition(",")[0].strip()
        host = _EVERYWHERE.get(first, f"[{first}]" if ":" in first else first)
        return f"{'https' if self.has_certificate else 'http'}://{host}:{self.port}"

    @property
    def has_certificate(self) -> bool:
        """Whether ComfyUI is told to speak TLS."""
        return any(item.startswith("--tls-keyfile") for item in self.extra)

    @property
    def needs_door(self) -> bool:
        """Whether something must stand before ComfyUI, which can allow one origin only."""
        return len(self.origins) > 1

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it; ComfyUI asks nobody who they are."""
        hosts = {item.strip() for item in self.listen.split(",")}
        return not all(host == "localhost" or host.startswith("127.") or host == "::1" for host in hosts)

    @property
    def names_device(self) -> bool:
        """Whether the further arguments say what to compute on."""
        return any(item.partition("=")[0] in _DEVICES for item in self.extra)


def spec(
    listen: str = LOOPBACK, port: int = 8188, origins: Sequence[str] = (), extra: Sequence[str] = ()
) -> LaunchSpec:
    """What was asked for, checked.

    Raises UsageError for what ComfyUI could not do, or an option of ours among the further arguments.
    """
    for item in extra:
        name = item.partition("=")[0]
        ours = next((_OURS[option] for option in _OURS if len(name) > 2 and option.startswith(name)), None)
        if ours is not None:  # ComfyUI takes abbreviations too
            raise UsageError(f"{item} must not stand after --.", hint=f"Give {ours} before it.")
    chosen = LaunchSpec(listen, port, _origins(origins), tuple(extra))
    if chosen.needs_door and chosen.has_certificate:
        hint = "Give one --cors, or put `comfyops serve --certificate --allow-origin` before it."
        raise UsageError("Several origins do not go with a certificate of ComfyUI's own.", hint=hint)
    return chosen


def arguments(chosen: LaunchSpec, *, has_gpu: bool) -> tuple[str, ...]:
    """The arguments of main.py."""
    given = ["--listen", chosen.listen, "--port", str(chosen.port)]
    if chosen.origins and not chosen.needs_door:
        given += ["--enable-cors-header", *chosen.origins]
    if not has_gpu and not chosen.names_device:
        given.append("--cpu")
    return (*given, *chosen.extra)


def behind_door(chosen: LaunchSpec, port: int) -> LaunchSpec:
    """What ComfyUI itself is started with where a door stands before it: loopback, and no page but through the door."""
    return LaunchSpec(LOOPBACK, port, (), chosen.extra)


def _origins(origins: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(item.strip().rstrip("/") for item in origins))
    for item in wanted:
        if item != "*" and not _ORIGIN.fullmatch(item):
            raise UsageError(
                f"{item!r} is no origin.", hint="An origin looks like http://localhost:3000; * stands for all."
            )
    return ("*",) if "*" in wanted else wanted
