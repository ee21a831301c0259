"""Packs brought to what a plan says, and taken away.

A new pack is made whole in a folder that ComfyUI leaves alone, its Python packages too, then renamed; one that is there
is moved to its commit, and back where that fails. After a crash at any line a new pack is there or not, and one that
was being moved is known to be unfinished: the same command goes on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from comfyops.deploy.packs.installed import DISABLED, FOLDER, InstalledPack, find, unfinished
from comfyops.deploy.packs.planning import How, PackPlan, Tools
from comfyops.deploy.packs.requirements import PythonPackages
from comfyops.errors import NodePackError
from comfyops.support.files import safe_name, storage_error, write_text
from comfyops.support.locks import locked

_LOCK = ".comfyops-packs.lock"


async def install(plan: PackPlan, tools: Tools) -> InstalledPack | None:
    """Do what a plan says; gives the pack as it is then, None where only a server has it.

    Raises NodePackError, StorageError, UnsafeNameError.
    """
    if plan.how is How.MANAGER and tools.manager is not None:
        await tools.manager.install(plan.name, plan.version)
        return find(tools.root, plan.name) if tools.root else None
    root, python = tools.root, tools.python
    if root is None or python is None:
        raise NodePackError(f"No folder of a ComfyUI is known for {plan.name}.", hint="Give it with --comfyui-path.")
    folder = root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    with locked(folder / _LOCK, 0.0, work="installation of packs"):
        if plan.how is How.COMFY_CLI:
            await _by_comfy_cli(plan, root, tools)
        elif plan.how is How.GIT and plan.before is not None:
            await _move(plan, plan.before, python, tools)
        elif plan.how is How.GIT:
            await _add(plan, root, python, tools)
        return _proven(plan, root)


def remove(pack: InstalledPack) -> None:
    """Take a pack away: its folder is renamed to one that ComfyUI leaves alone, then deleted. A link is only unlinked.

    Raises StorageError.
    """
    try:
        if pack.path.is_symlink():
            pack.path.unlink()
            return
        gone = _beside(pack.path, "removed")
        shutil.rmtree(gone, ignore_errors=True)
        pack.path.rename(gone)
    except OSError as error:
        raise storage_error(error, pack.path) from error
    shutil.rmtree(gone, ignore_errors=True)


async def _add(plan: PackPlan, root: Path, python: PythonPackages, tools: Tools) -> None:
    target = root / FOLDER / safe_name(plan.name)
    if target.exists():
        raise NodePackError(f"{target} is in the way.", hint="Rename it or take it away, then try again.")
    made = _beside(target, "new")
    shutil.rmtree(made, ignore_errors=True)
    try:
        await tools.git.fetch(plan.url, plan.commit, made)
        await python.install(made)
        await python.run_script(made)
        made.rename(target)
    except OSError as error:
        raise storage_error(error, target) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def _move(plan: PackPlan, before: InstalledPack, python: PythonPackages, tools: Tools) -> None:
    if not before.commit:
        hint = f"Take it away with `comfyops nodes remove {before.name}`, then try again."
        raise NodePackError(f"{before.name} is there, but not under git.", hint=hint, pack=before.name)
    if await tools.git.is_changed(before.path):
        hint = "Keep the changes elsewhere (git stash), then try again."
        raise NodePackError(f"Files of {before.name} were changed by hand.", hint=hint, pack=before.name)
    mark = unfinished(before.path)
    write_text(mark, plan.commit)
    try:
        await tools.git.move(plan.url, plan.commit, before.path)
        await python.install(before.path)
        await python.run_script(before.path)
    except NodePackError:
        await tools.git.back(before.path, before.commit, before.url)
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


async def _by_comfy_cli(plan: PackPlan, root: Path, tools: Tools) -> None:
    wanted = f"{plan.name}@{plan.version}"
    options = ("--skip-prompt", "--workspace", str(root), "node", "install", "--exit-on-fail", wanted)
    await tools.git.programs.run("comfy", *options, folder=root)


def _proven(plan: PackPlan, root: Path) -> InstalledPack:
    """The pack, which must be what the plan says."""
    found = find(root, plan.name)
    if found is None:
        raise NodePackError(f"{plan.name} is not there after {plan.how} has brought it.", pack=plan.name)
    wanted, has = (plan.commit, found.commit) if plan.commit else (plan.version, found.version)
    if wanted != has:
        raise NodePackError(f"{plan.name} is at {has or 'nothing known'}, not {wanted}.", pack=plan.name)
    return found


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".comfyops-{what}-{folder.name}{DISABLED}")
