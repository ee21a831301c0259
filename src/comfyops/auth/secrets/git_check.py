"""Whether git would take a file of secrets into a repository, or has done so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from comfyops import config

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file that git has (`tracked`) or would take (`not_ignored`)."""

    path: Path
    state: str

    @property
    def words(self) -> str:
        """The state for people, with what to do."""
        if self.state == "tracked":
            return "is in the git repository: remove it with `git rm --cached`, and rotate what it holds"
        return "is not ignored by git: add it to .gitignore"


def exposures(paths: Iterable[Path]) -> tuple[Exposure, ...]:
    """The files that git has or would take; none where there is no repository or no git."""
    found = []
    for path in paths:
        real = Path(os.path.realpath(path))
        folder = next((item for item in real.parents if item.is_dir()), None)
        if folder is None or _git(folder, "rev-parse", "--is-inside-work-tree") != 0:
            continue
        if _git(folder, "ls-files", "--error-unmatch", "--", str(real)) == 0:
            found.append(Exposure(path, "tracked"))
        elif _git(folder, "check-ignore", "--quiet", "--", str(real)) == 1:
            found.append(Exposure(path, "not_ignored"))
    return tuple(found)


def _git(folder: Path, *arguments: str) -> int | None:
    """git's exit code; None where it cannot be run."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=config.environment_of_children(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return None
