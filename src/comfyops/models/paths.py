r"""One path, written in the way of any system, as this machine writes it. Pure: it is told what machine that is.

    as it was given                  on Windows                       in WSL (Ubuntu)     elsewhere
    C:\ComfyUI                       C:\ComfyUI                       /mnt/c/ComfyUI      refused
    /mnt/c/ComfyUI                   C:\ComfyUI                       as it is            as it is
    \\wsl.localhost\Ubuntu\home\a    as it is                         /home/a             refused
    \\wsl$\Ubuntu\home\a             as it is                         /home/a             refused
    /home/a                          \\wsl.localhost\Ubuntu\home\a    as it is            as it is
    \\server\share\a                 as it is                         refused             refused

Source: the names under which Windows shows the files of WSL, and /etc/wsl.conf ([automount] root) for /mnt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from comfyops.errors import InputError

_DRIVE = re.compile(r"([A-Za-z]):(?:[\\/](.*))?", re.DOTALL)
_UNC = re.compile(r"[\\/]{2}([^\\/]+)[\\/]+([^\\/]+)(?:[\\/]+(.*))?", re.DOTALL)
_WSL_HOSTS = frozenset({"wsl.localhost", "wsl$"})


class System(StrEnum):
    """Whose paths a machine has."""

    POSIX = "posix"
    WINDOWS = "windows"
    WSL = "wsl"


@dataclass(frozen=True, slots=True)
class Machine:
    """What paths are written for: the system, the WSL distribution ("" = none known), where WSL shows drives."""

    system: System
    distribution: str = ""
    drives: str = "/mnt/"


@dataclass(frozen=True, slots=True)
class Unc:
    r"""The parts of `\\host\share\rest`."""

    host: str
    share: str
    rest: str

    @property
    def is_wsl(self) -> bool:
        """Whether it names files of a WSL distribution, which is then the share."""
        return self.host.lower() in _WSL_HOSTS


def translate(text: str, machine: Machine) -> str:
    """The path as this machine writes it.

    Raises InputError for one that cannot be reached from here, with what to do instead.
    """
    text = _plain(text)
    unc = parse_unc(text)
    drive = _DRIVE.fullmatch(text)
    if machine.system is System.WINDOWS:
        return text if unc or drive else _for_windows(text, machine)
    if unc is not None:
        return _from_unc(text, unc, machine)
    if drive is not None:
        return _from_drive(text, drive, machine)
    if re.match(r"[A-Za-z]:", text) and machine.system is System.WSL:
        raise _unreachable(text, "it starts at no folder", r"Write it whole, such as C:\ComfyUI.")
    return text


def parse_unc(text: str) -> Unc | None:
    r"""The parts of a path that starts with `\\host\share` (or slashes), None for any other."""
    found = _UNC.fullmatch(text)
    if found is None or (text.startswith("//") and found[1].lower() not in _WSL_HOSTS):
        return None  # two slashes at the start of a POSIX path mean one
    return Unc(found[1], found[2], found[3] or "")


def windows_form(text: str, machine: Machine) -> str:
    """A path of this machine as programs of Windows know it, for people who see both; as it is where they do not."""
    if machine.system is not System.WSL or not text.startswith("/"):
        return text
    return _for_windows(text, machine)


def _plain(text: str) -> str:
    r"""Without quotes, `\\?\` and what else comes along when a path is copied."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if text.startswith("\\\\?\\UNC\\"):
        text = "\\\\" + text[8:]
    text = text.removeprefix("\\\\?\\")
    if "\0" in text or not text:
        raise InputError("A path is empty or holds characters that no path has.", hint="Check the path.")
    return text


def _for_windows(text: str, machine: Machine) -> str:
    slashed = text.replace("\\", "/")  # Python on Windows turns them around
    found = re.fullmatch(re.escape(machine.drives) + r"([a-z])(?:/(.*))?", slashed, re.DOTALL)
    if found is not None:
        return f"{found[1].upper()}:\\" + (found[2] or "").replace("/", "\\")
    if not slashed.startswith("/"):
        return text
    if not machine.distribution:
        hint = r"Write it as \\wsl.localhost\DISTRIBUTION\..., such as \\wsl.localhost\Ubuntu\home\me\ComfyUI."
        raise _unreachable(text, "it does not say in which WSL distribution it lies", hint)
    return f"\\\\wsl.localhost\\{machine.distribution}" + slashed.replace("/", "\\")


def _from_unc(text: str, unc: Unc, machine: Machine) -> str:
    if not unc.is_wsl:
        mounted = (
            "sudo mount -t drvfs '\\\\server\\share' /mnt/share" if machine.system is System.WSL else "mount -t cifs"
        )
        raise _unreachable(text, "it lies on another machine", f"Mount it ({mounted}) and give the folder it is at.")
    if machine.system is not System.WSL:
        raise _unreachable(text, "it lies in WSL, and this machine is neither WSL nor Windows", "Check the path.")
    if machine.distribution and unc.share.lower() != machine.distribution.lower():
        hint = f"Run this command in {unc.share} (`wsl -d {unc.share}`), or on Windows."
        raise _unreachable(text, f"this is the distribution {machine.distribution}, not {unc.share}", hint)
    return "/" + unc.rest.replace("\\", "/")


def _from_drive(text: str, drive: re.Match[str], machine: Machine) -> str:
    if machine.system is not System.WSL:
        raise _unreachable(
            text, "it is a path of Windows, and this machine is neither WSL nor Windows", "Check the path."
        )
    rest = (drive[2] or "").replace("\\", "/")
    return f"{machine.drives}{drive[1].lower()}/{rest}".rstrip("/") if rest else f"{machine.drives}{drive[1].lower()}"


def _unreachable(text: str, why: str, hint: str) -> InputError:
    return InputError(f"The path {text} cannot be reached from here: {why}.", hint=hint, path=text)
