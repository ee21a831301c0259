"""Programs that packs are had with (git, pip, comfy-cli): run to their end, their output kept, shown and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comfyops.errors import NodePackError
from comfyops.support.processes import OnLine, Process, RotatingFile

_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Programs:
    """Runs programs with an environment; their output goes into `log` and, line by line, to `on_line`.

    `timeout` in seconds for each of them.
    """

    environment: Mapping[str, str]
    log: Path
    on_line: OnLine | None = None
    timeout: float = 3600.0

    async def run(self, *command: str, folder: Path, quiet: bool = False) -> tuple[str, ...]:
        """The last lines that a program printed.

        Raises NodePackError where it cannot be run, fails or takes too long; being cancelled ends it with all its
        children. Raises StorageError for the log.
        """
        log = RotatingFile(self.log)
        log.write(f"--- {' '.join(command)}\n".encode())
        shown = None if quiet else self.on_line
        try:
            process = Process(command, folder=folder, environment=self._variables, log=log, on_line=shown)
        except OSError as error:
            log.close()
            words = f"{command[0]} cannot be run: {(error.strerror or type(error).__name__).lower()}."
            raise NodePackError(words, program=command[0]) from error
        try:
            code = await process.wait(self.timeout)
        finally:
            await process.stop(_STOP_SECONDS)
        if code != 0:
            raise self._failed(command, code, process.last_lines)
        return process.last_lines

    @property
    def _variables(self) -> dict[str, str]:
        """Nobody is asked for a password, and output comes as it is written."""
        never = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "PIP_NO_INPUT": "1"}
        return {**self.environment, **never, "PYTHONUNBUFFERED": "1", "LC_ALL": "C"}

    def _failed(self, command: Sequence[str], code: int | None, lines: Sequence[str]) -> NodePackError:
        name = Path(command[0]).name
        how = f"did not end within {self.timeout:g} s" if code is None else f"failed (exit code {code})"
        said = next((line for line in reversed(lines) if line.startswith(("fatal:", "ERROR:", "error:"))), "")
        last = said or (lines[-1] if lines else "it said nothing")
        words = f"{name} {how}: {last[:300].rstrip('.')}."
        return NodePackError(words, hint=f"Read the end of {self.log}.", program=name, tail=list(lines[-20:]))
