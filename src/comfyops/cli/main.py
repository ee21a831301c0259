"""The entry point: what every command shares, from reading the arguments to the exit code.

Exit codes: 0 fine, 1 something failed, 2 the command makes no sense, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any


def main() -> None:
    """Run the command of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; its result goes to stdout, talk to stderr."""
    if list(argv) in (["--version"], ["-v"]):
        from comfyops import __version__

        print(f"comfyops {__version__}")  # noqa: T201 (before the printer is imported, which costs time)
        return 0
    from comfyops.cli import output

    as_json = "--json" in argv
    try:
        return output.emit(_invoke(argv), as_json=as_json)
    except BrokenPipeError:
        # The reader of our output went away (as `head` does); nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return output.interrupted(as_json=as_json)
    except Exception as error:  # noqa: BLE001 (the one place where nothing may get through)
        return output.failed(error, as_json=as_json, command=_command(argv))


def _invoke(argv: Sequence[str]) -> Any:
    from comfyops.cli.app import build

    return build()(args=list(argv), prog_name="comfyops", standalone_mode=False)


def _command(argv: Sequence[str]) -> str:
    words = [word for word in argv[:2] if not word.startswith("-") and word.isidentifier()]
    return " ".join(words)
