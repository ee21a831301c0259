"""The folders of a simulated server, and the rules by which the real one finds a file in them.

home/input    uploads            type "input"
home/output   results            type "output"
home/temp     previews           type "temp"; emptied when the server starts
home/user     settings, user data
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

TYPES = ("input", "output", "temp")


class RefusedPathError(Exception):
    """The server refuses this name; `status` is its HTTP answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


@dataclass(frozen=True)
class Folders:
    """The folders under one home."""

    home: Path

    @property
    def input(self) -> Path:
        """Uploads."""
        return self.home / "input"

    @property
    def output(self) -> Path:
        """Results."""
        return self.home / "output"

    @property
    def temp(self) -> Path:
        """Previews; does not survive a start of the server."""
        return self.home / "temp"

    @property
    def user(self) -> Path:
        """Settings and user data."""
        return self.home / "user"

    def prepare(self) -> None:
        """Make the folders, and empty `temp` as a starting server does."""
        shutil.rmtree(self.temp, ignore_errors=True)
        for folder in (self.input, self.output, self.temp, self.user):
            folder.mkdir(parents=True, exist_ok=True)

    def of_type(self, name: str) -> Path | None:
        """The folder of a type word, None for any other word."""
        return self.home / name if name in TYPES else None

    def inputs(self) -> list[str]:
        """Names of the files that lie directly in `input`, sorted."""
        return sorted(entry.name for entry in os.scandir(self.input) if entry.is_file())

    def view(self, filename: str, type_word: str, subfolder: str | None) -> Path:
        """The file that GET /view means.

        Raises RefusedPathError with 400, 403 or 404.
        """
        name, folder = self._annotated(filename)
        if not name or name.startswith("/") or ".." in name:
            raise RefusedPathError(400)
        folder = folder or self.of_type(type_word)
        if folder is None:
            raise RefusedPathError(400)
        if subfolder is not None:
            folder = self._inside(folder, subfolder, 403)
        path = folder / os.path.basename(name)  # noqa: PTH119 (the server's own rule, for names that are no paths)
        if "\0" in name or not path.is_file():
            raise RefusedPathError(404)
        return path

    def input_file(self, name: str) -> Path | None:
        """The file a loader node means by `name`, which may end in " [output]"; None where there is none."""
        name, folder = self._annotated(name)
        try:
            path = self._inside(folder or self.input, name, 404)
        except RefusedPathError:
            return None
        return path if path.is_file() else None

    def upload(self, filename: str, type_word: str, subfolder: str) -> Path:
        """Where an upload goes.

        Raises RefusedPathError with 400, or 500 for a type the server does not know.
        """
        folder = self.of_type(type_word)
        if folder is None:
            raise RefusedPathError(500)
        target = folder / os.path.normpath(subfolder)
        return self._inside(folder, os.path.normpath(target / filename), 400)

    def _annotated(self, name: str) -> tuple[str, Path | None]:
        for word in TYPES:
            if name.endswith(f"[{word}]"):
                return name[: -len(word) - 2].removesuffix(" "), self.of_type(word)
        return name, None

    def _inside(self, folder: Path, name: str, refusal: int) -> Path:
        root = os.path.abspath(folder)  # noqa: PTH100 (links are not resolved, as in the real server)
        path = os.path.abspath(os.path.join(root, name.replace("\0", "")))  # noqa: PTH100, PTH118
        if os.path.commonpath((root, path)) != root:
            raise RefusedPathError(refusal)
        return Path(path)
