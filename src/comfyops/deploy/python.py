"""ComfyUI's own Python: where it is, and what it can compute on. Ours says nothing about that."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comfyops.errors import LaunchError, MissingFileError

PROBE_SECONDS = 180.0
"""How long PyTorch may take to be imported, from a cold disk on a busy machine."""

_ENVIRONMENTS = ("venv", ".venv", "env", "conda", "python_embeded", "python_embedded")
_OF_WINDOWS = ("Scripts/python.exe", "python.exe")
_PROGRAMS = _OF_WINDOWS if os.name == "nt" else ("bin/python", "bin/python3")
_INSTALL = "Install ComfyUI's requirements into it, or name another Python with --python."

_MARK = "comfyops-probe:"
_PROBE = f"""
import json, sys
found = {{"python": sys.version.split()[0], "torch": "", "device": "cpu", "name": "CPU", "free": 0, "total": 0}}
try:
    import torch
except ImportError as error:
    found["problem"] = str(error)
else:
    found["torch"] = str(torch.__version__)
    for kind in ("cuda", "xpu", "npu", "mlu", "mps"):
        try:
            if kind in ("npu", "mlu"):
                __import__("torch_" + kind)
            part = torch.backends.mps if kind == "mps" else getattr(torch, kind)
            if part.is_available():
                found["device"] = kind
                found["name"] = kind if kind == "mps" else str(part.get_device_name(0))
                found["free"], found["total"] = (int(size) for size in part.mem_get_info(0))
                break
        except Exception:
            if found["device"] != "cpu":
                break
print("{_MARK}" + json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """A Python that can run ComfyUI: its program, its version, PyTorch's, and the device that PyTorch sees.

    Memory of the device in bytes; 0 where it is not known.
    """

    program: Path
    version: str
    torch: str
    device: str
    device_name: str
    vram_total: int = 0
    vram_free: int = 0

    @property
    def has_gpu(self) -> bool:
        """Whether PyTorch sees anything better than the processor."""
        return self.device != "cpu"


def find_python(root: Path, given: Path | None = None) -> Path:
    """The Python to run the ComfyUI in `root` with: the given one, else the one that lies in it or beside it.

    A Python on the PATH is taken only where it has PyTorch beside it. Raises MissingFileError.
    """
    if given is not None:
        return _given(given)
    for program in candidates(root):
        if os.path.isfile(program):  # noqa: PTH113 (a folder that may not be looked into has none for us)
            return program
    found = shutil.which("python3") or shutil.which("python")
    if found and _has_torch(Path(found)):
        return Path(found)
    raise _none(root)


def candidates(root: Path, programs: Sequence[str] = _PROGRAMS) -> Iterator[Path]:
    """Where its Python may be: in its folder, then in the folder around it, as portable ones have it."""
    for folder in (root, root.parent):
        for environment in _ENVIRONMENTS:
            yield from (folder / environment / program for program in programs)


async def ask(program: Path, root: Path, environment: Mapping[str, str]) -> PythonFacts:
    """Ask a Python what it is and what it sees.

    Raises LaunchError where it does not run, has no PyTorch, or does not answer within PROBE_SECONDS.
    """
    text = await _output(program, root, environment)
    answer = next((line for line in text.splitlines() if line.startswith(_MARK)), None)
    if answer is None:
        last = next(iter(reversed(text.strip().splitlines())), "it said nothing")
        raise LaunchError(f"{program} does not work as a Python: {last[:200]}.", hint=_INSTALL, program=str(program))
    found = json.loads(answer.removeprefix(_MARK))
    if not found["torch"]:
        words = f"{program} (Python {found['python']}) cannot run ComfyUI: {found['problem']}."
        raise LaunchError(words, hint=_INSTALL, program=str(program))
    return PythonFacts(
        program, found["python"], found["torch"], found["device"], found["name"], found["total"], found["free"]
    )


async def _output(program: Path, root: Path, environment: Mapping[str, str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *("-c", _PROBE),
            cwd=root,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        reason = (error.strerror or "it cannot be run").lower()
        raise LaunchError(f"{program} cannot be run: {reason}.", hint=_INSTALL, program=str(program)) from error
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PROBE_SECONDS)
    except TimeoutError:
        words = f"{program} did not import PyTorch within {PROBE_SECONDS:g} s."
        raise LaunchError(words, hint=_INSTALL, program=str(program)) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode("utf-8", "replace")


def _given(given: Path) -> Path:
    """The program itself, or the one in the environment that was named."""
    if given.is_dir():
        for program in _PROGRAMS:
            if (given / program).is_file():
                return (given / program).absolute()
    found = shutil.which(str(given)) if given.parent == Path() and not given.is_file() else None
    if found:
        return Path(found)
    if given.is_file():
        return given.absolute()
    raise MissingFileError(f"There is no Python at {given}.", path=str(given))


def _none(root: Path) -> MissingFileError:
    """What to say where no Python was found; of one that is there and cannot be used, why."""
    words = f"The ComfyUI in {root} has no Python of its own (venv, .venv, env, conda or python_embeded)."
    hint = "Name the one that it was installed with by --python."
    for program in candidates(root):
        if os.path.islink(program):  # noqa: PTH114
            words = f"{program} leads to {program.readlink()}, which is not there."
            hint = "Make that environment anew, or name another Python with --python."
            return MissingFileError(words, hint=hint, path=str(program))
    for program in candidates(root, _OF_WINDOWS):
        if os.path.isfile(program):  # noqa: PTH113
            words = f"The ComfyUI in {root} has a Python for Windows: {program}."
            hint = "Run this command on Windows, or name a Python of this system with --python."
    return MissingFileError(words, hint=hint, path=str(root))


def _has_torch(program: Path) -> bool:
    """Whether PyTorch lies among this Python's packages; looked for, not run."""
    prefix = program.resolve().parent.parent
    return any(prefix.glob("lib/python3*/*-packages/torch")) or (prefix / "Lib/site-packages/torch").is_dir()
