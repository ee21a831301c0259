"""Repositories of packs: which commit a pin means, and that very commit in a folder."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from comfyops.deploy.packs.programs import Programs
from comfyops.deploy.packs.request import PackRequest, check_url
from comfyops.errors import NodePackError
from comfyops.support.git_folders import commit_of

_GIT = ("git", "-c", "protocol.ext.allow=never")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_LINE = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?)\s+(\S+)")


@dataclass(frozen=True)
class Git:
    """Git, called as a program."""

    programs: Programs

    async def commit(self, request: PackRequest) -> str:
        """The commit that a request's pin means in its repository; without a pin, the newest of its main branch.

        Raises NodePackError where there is none, UsageError for an address that git should not be given.
        """
        url = check_url(request.url)
        if request.commit:
            return request.commit
        asked = ("HEAD",) if not request.pin else tuple(_names(request.pin))
        lines = await self.programs.run(*_GIT, "ls-remote", "--", url, *asked, folder=Path.cwd(), quiet=True)
        found = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line.strip()))}
        commit = next((found[name] for name in asked if name in found), None)
        if commit is None:
            hint = "Give the whole commit, of 40 characters." if _SHORT.fullmatch(request.pin) else "Give a commit."
            words = f"{url} has no tag or branch {request.pin!r}." if request.pin else f"{url} is empty."
            raise NodePackError(words, hint=hint, url=url, pin=request.pin)
        return commit

    async def fetch(self, url: str, commit: str, folder: Path) -> None:
        """Make a new folder that holds this commit of a repository, with its submodules.

        Raises NodePackError.
        """
        folder.mkdir(parents=True)
        await self._run(folder, "init", "-q")
        await self._run(folder, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
        await self.move(url, commit, folder)

    async def move(self, url: str, commit: str, folder: Path) -> None:
        """Bring a repository's folder to a commit of the repository at `url`; files that git does not know stay.

        Raises NodePackError.
        """
        source = check_url(url)
        try:
            await self._run(folder, "fetch", "-q", "--depth", "1", source, commit)
        except NodePackError:  # some servers give branches and tags only
            await self._run(folder, "fetch", "-q", "--tags", source, "+refs/heads/*:refs/remotes/origin/*")
        try:
            await self._run(folder, "checkout", "-q", "--detach", commit)
        except NodePackError as error:
            raise NodePackError(f"There is no commit {commit} in its repository.", hint=error.message) from error
        await self._run(folder, "config", "remote.origin.url", source)
        if (folder / ".gitmodules").is_file():
            await self._run(folder, "submodule", "-q", "update", "--init", "--recursive", "--depth", "1")
        if commit_of(folder) != commit:
            raise NodePackError(f"git left {folder.name} at another commit than {commit}.")

    async def back(self, folder: Path, commit: str, url: str) -> None:
        """Bring a folder back to a commit that it was at before, and to its repository. Raises NodePackError."""
        await self._run(folder, "checkout", "-q", "--detach", "--force", commit)
        if url:
            await self._run(folder, "config", "remote.origin.url", url)

    async def is_changed(self, folder: Path) -> bool:
        """Whether somebody has changed files that git knows."""
        with contextlib.suppress(NodePackError):
            return bool(await self._run(folder, "status", "--porcelain", "--untracked-files=no"))
        return True

    async def _run(self, folder: Path, *arguments: str) -> tuple[str, ...]:
        return await self.programs.run(*_GIT, *arguments, folder=folder, quiet=True)


def _names(pin: str) -> list[str]:
    """The references that a pin may mean, best first; what an annotated tag points to goes before the tag."""
    tags = [f"refs/tags/{name}" for name in (pin, f"v{pin}")]
    return [f"{tags[0]}^{{}}", tags[0], f"{tags[1]}^{{}}", tags[1], f"refs/heads/{pin}"]
