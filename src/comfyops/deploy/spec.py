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
    """Address, allowed origin of pages ("" = none, * = all), and further arguments, as they are."""

    listen: str = LOOPBACK
    port: int = 8188
    origin: str = ""
    extra: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers on this machine."""
        first = self.listen.partition(",")[0].strip()
        host = _EVERYWHERE.get(first, f"[{first}]" if ":" in first else first)
        scheme = "https" if any(item.startswith("--tls-keyfile") for item in self.extra) else "http"
        return f"{scheme}://{host}:{self.port}"

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

    Raises UsageError for what ComfyUI could not do: several origins, or an option of ours among the further arguments.
    """
    for item in extra:
        option = _OURS.get(item.partition("=")[0])
        if option is not None:
            raise UsageError(f"{item} must not stand after --.", hint=f"Give {option} before it.")
    return LaunchSpec(listen, port, _origin(origins), tuple(extra))


def arguments(chosen: LaunchSpec, *, has_gpu: bool) -> tuple[str, ...]:
    """The arguments of main.py."""
    given = ["--listen", chosen.listen, "--port", str(chosen.port)]
    if chosen.origin:
        given += ["--enable-cors-header", chosen.origin]
    if not has_gpu and not chosen.names_device:
        given.append("--cpu")
    return (*given, *chosen.extra)


def _origin(origins: Sequence[str]) -> str:
    wanted = list(dict.fromkeys(item.strip().rstrip("/") for item in origins))
    for item in wanted:
        if item != "*" and not _ORIGIN.fullmatch(item):
            raise UsageError(
                f"{item!r} is no origin.", hint="An origin looks like http://localhost:3000; * stands for all."
            )
    if len(wanted) > 1:
        hint = "Give the one origin whose pages call ComfyUI, or * for all of them."
        raise UsageError(f"ComfyUI can allow one origin only, not {' and '.join(wanted)}.", hint=hint)
    return wanted[0] if wanted else ""
