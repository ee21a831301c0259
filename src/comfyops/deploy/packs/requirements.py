"""The Python packages of a pack, installed into ComfyUI's own Python; its PyTorch stays as it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from comfyops.deploy.packs.programs import Programs
from comfyops.errors import NodePackError

FILE = "requirements.txt"
SCRIPT = "install.py"

_KEPT = ("torch", "torchvision", "torchaudio")
_MARK = "comfyops-package:"
_ASK = f"""
import importlib.metadata, importlib.util
for name in {_KEPT!r}:
    try:
        print("{_MARK}" + name + "==" + importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
for name in ("pip", "cm_cli"):
    if importlib.util.find_spec(name):
        print("{_MARK}" + name)
"""


@dataclass(frozen=True)
class PythonPackages:
    """The packages of ComfyUI's Python."""

    program: Path
    programs: Programs

    async def install(self, folder: Path) -> None:
        """Install what a pack's folder asks for.

        Raises NodePackError, also where it asks for another PyTorch than the one that is there.
        """
        if not (folder / FILE).is_file():
            return
        facts = await self.facts()
        with TemporaryDirectory() as scratch:
            kept = Path(scratch) / "constraints.txt"
            kept.write_text("".join(f"{line}\n" for line in facts if "==" in line), encoding="utf-8")
            options = ("install", "-r", FILE, "-c", str(kept))
            await self.programs.run(*self._installer("pip" in facts), *options, folder=folder)

    async def run_script(self, folder: Path) -> None:
        """Run the pack's own installer, where it has one. Raises NodePackError."""
        if (folder / SCRIPT).is_file():
            await self.programs.run(str(self.program), SCRIPT, folder=folder)

    async def facts(self) -> tuple[str, ...]:
        """PyTorch's packages as NAME==VERSION, `pip` and `cm_cli` where it has them. Raises NodePackError."""
        lines = await self.programs.run(str(self.program), "-c", _ASK, folder=self.program.parent, quiet=True)
        return tuple(line.removeprefix(_MARK) for line in lines if line.startswith(_MARK))

    def _installer(self, has_pip: bool) -> tuple[str, ...]:
        if has_pip:
            return (str(self.program), "-m", "pip", "--disable-pip-version-check")
        uv = shutil.which("uv")
        if uv is None:
            words = f"{self.program} has no pip, and there is no uv on the PATH."
            raise NodePackError(words, hint=f"Run `{self.program} -m ensurepip`, or install uv.")
        return (uv, "pip", "--python", str(self.program))
