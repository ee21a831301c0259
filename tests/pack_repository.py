"""Repositories of packs of custom nodes on this disk, a registry that lists them, and a ComfyUI to put them into."""

from __future__ import annotations

import os
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

PACK = "NODE_CLASS_MAPPINGS = {}\n"


@dataclass
class Repository:
    """A pack's repository; `commits` are all of its commits, oldest first."""

    folder: Path
    commits: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return self.folder.as_uri()

    def commit(self, **files: str) -> str:
        """Write files (`__` in a name stands for a dot, which names of arguments cannot have) and commit them."""
        for name, text in files.items():
            (self.folder / name.replace("__", ".")).write_text(text)
        self._git("add", "--all")
        self._git("commit", "-q", "-m", "change", "--allow-empty")
        self.commits.append(self._git("rev-parse", "HEAD"))
        return self.commits[-1]

    def tag(self, name: str) -> None:
        """Tag the newest commit, with a note."""
        self._git("tag", "-a", name, "-m", name)

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=git_environment(), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def git_environment() -> dict[str, str]:
    """An environment in which git knows nobody's settings, and has an author."""
    person = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def repository(folder: Path, **files: str) -> Repository:
    """A new repository with one commit."""
    folder.mkdir(parents=True)
    made = Repository(folder)
    made._git("init", "-q", "-b", "main")
    (folder / "__init__.py").write_text(PACK)
    made.commit(**files)
    return made


def wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """A Python package of one empty module, ready to be installed without an index."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return path
