"""Where ComfyUI is on this machine, and whether models can be written there."""

from __future__ import annotations

import configparser
import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyops import config
from comfyops.errors import DiskFullError, MissingFileError, NotWritableError, StorageError
from comfyops.models.folders import Folders, folders_of
from comfyops.models.paths import Machine, System, parse_unc, translate
from comfyops.support.files import storage_error

SEARCHED = ("./comfyui_portable/ComfyUI", "../comfyui_portable/ComfyUI", "~/ComfyUI", "~/comfy/ComfyUI")
"""Where ComfyUI is looked for when nobody says where it is: StoryCore's places, then comfy-cli's."""

_BELOW = ("", "ComfyUI", "comfyui_portable/ComfyUI", "ComfyUI_windows_portable/ComfyUI")
_KERNEL = Path("/proc/sys/kernel/osrelease")
_WSL_SETTINGS = Path("/etc/wsl.conf")
_PROBE = b"comfyops: may something be written here?\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A ComfyUI installation: its folder, and the path as a person wrote it."""

    root: Path
    given: str

    def folders(self) -> Folders:
        """Its models folders, those of `extra_model_paths.yaml` too.

        Raises MissingFileError, NotJsonError, InputError.
        """
        return folders_of(self.root)


def this_machine() -> Machine:
    """What paths look like here."""
    if os.name == "nt":
        return Machine(System.WINDOWS, config.wsl_distribution())
    try:
        kernel = _KERNEL.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        kernel = ""
    if "microsoft" in kernel or config.wsl_distribution():
        return Machine(System.WSL, config.wsl_distribution(), drives_root(_WSL_SETTINGS))
    return Machine(System.POSIX)


def drives_root(settings: Path) -> str:
    """Where WSL shows the drives of Windows: `root` of `[automount]` in its settings, else /mnt/."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read(settings, encoding="utf-8")
        root = (parser.get("automount", "root", fallback="") or "").strip().strip('"')
    except (OSError, UnicodeDecodeError, configparser.Error):
        root = ""
    return f"{root.rstrip('/')}/" if root.startswith("/") else "/mnt/"


def find(given: str | Path | None = None, *, machine: Machine | None = None) -> Place:
    """The ComfyUI at this path, in a folder of a portable one too; with none given, the first in SEARCHED.

    Raises MissingFileError where there is none, InputError for a path that this machine cannot reach.
    """
    if given is None:
        found = search()
        if found is None:
            words = f"No ComfyUI was found in {', '.join(SEARCHED)}."
            raise MissingFileError(words, hint="Give its folder with --comfyui-path or COMFYOPS_COMFYUI_PATH.")
        return found
    path = local_path(given, machine)
    for below in _BELOW:
        if is_comfyui(path / below):
            return Place(path / below if below else path, str(given))
    words = f"There is no ComfyUI in {given}" if path.is_dir() else f"{given} is no folder"
    hint = "Give the folder that holds ComfyUI's main.py."
    raise MissingFileError(f"{words}.", hint=hint, path=str(given))


def search(below: Path | None = None) -> Place | None:
    """The first ComfyUI of SEARCHED, relative ones below this folder (the current one if none is given)."""
    for text in SEARCHED:
        path = (below or Path()) / Path(text).expanduser()
        if is_comfyui(path):
            return Place(path.absolute(), text)
    return None


def is_comfyui(folder: Path) -> bool:
    """Whether a folder holds a ComfyUI: its main.py, and its models folder or the module that finds models."""
    try:
        whole = (folder / "models").is_dir() or (folder / "folder_paths.py").is_file()
        return (folder / "main.py").is_file() and whole
    except OSError:  # a share that is away, a folder that may not be looked into
        return False


def local_path(given: str | Path, machine: Machine | None = None) -> Path:
    """A path that somebody gave, as this machine writes it, absolute.

    Raises InputError for one that this machine cannot reach.
    """
    if isinstance(given, Path) and given.exists():
        return given.absolute()
    text = translate(str(given), machine or this_machine())
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~somebody who is not there
        raise MissingFileError(f"{given} does not exist.", path=str(given)) from error


def check_writable(folder: Path, shown: str = "") -> None:
    """See that files can be written into a folder, or into the nearest one above where it is not there yet: by writing.

    `shown` is the path as the person knows it. Raises NotWritableError, DiskFullError, StorageError.
    """
    try:
        there = next(path for path in _upwards(folder) if path.exists())
        if not there.is_dir():
            raise StorageError(f"{there} is a file, not a folder to write into.", path=str(there))
        with tempfile.NamedTemporaryFile(prefix=".comfyops-probe.", dir=there) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise refused(shown or str(folder), error) from error


def refused(shown: str, error: OSError) -> StorageError:
    r"""The error for a folder that could not be written into; of UNC paths in the documented words.

    Source: StoryCore's page on model downloads ("UNC Path Access Denied: Cannot write to \\wsl.localhost\...").
    """
    known = storage_error(error, Path(shown))
    if isinstance(known, DiskFullError):
        return DiskFullError(f"No space left on device: {shown}.", path=shown)
    if parse_unc(shown) is not None:
        words = f"UNC Path Access Denied: Cannot write to {shown}."
        return NotWritableError(words, hint="Run as administrator, or use manual mode (--manual).", path=shown)
    reasons = {
        errno.EROFS: "it is read-only",
        errno.EACCES: "permission is denied",
        errno.EPERM: "permission is denied",
    }
    why = reasons.get(error.errno or 0, (error.strerror or type(error).__name__).lower())
    hint = "Give yourself the right to write there, choose another folder with --models-dir, or use --manual."
    return NotWritableError(f"Cannot write to {shown}: {why}.", hint=hint, path=shown)


def _upwards(folder: Path) -> Iterator[Path]:
    folder = folder.absolute()
    yield folder
    yield from folder.parents
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
