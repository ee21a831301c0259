"""The tree of commands. A noun's module is imported only when one of its commands is asked for."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from comfyops.cli import logs

COMMANDS = (
    "run",
    "generate",
    "workflow",
    "templates",
    "models",
    "nodes",
    "launch",
    "lock",
    "storyboard",
    "jobs",
    "queue",
    "backends",
    "schedules",
    "quotas",
    "webhooks",
    "auth",
    "audit",
    "secrets",
    "serve",
    "simulate",
    "worker",
)
"""The nouns (and verbs) after `comfyops`, in the order of the help; each is a module in `commands`."""


class LogFormat(StrEnum):
    """Forms of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How important a log line is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LazyGroup(TyperGroup):
    """Finds its commands in COMMANDS."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Only the names are known here; Typer looks for the nearest one among them where somebody mistypes.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, imported now; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"comfyops.cli.commands.{cmd_name}")
        command = get_command(module.app)
        command.name = cmd_name
        return command


def build() -> Any:
    """The whole command, ready to be called with arguments."""
    app = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Run workflows and storyboards on ComfyUI servers.",
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", "-v", help="Print the version and exit.", is_eager=True),
        log_file: Path | None = typer.Option(
            None, envvar="COMFYOPS_LOG_FILE", help="Write log lines into this file too."
        ),
        log_format: LogFormat | None = typer.Option(
            None, envvar="COMFYOPS_LOG_FORMAT", help="Form of log lines; without a file they stand on stderr."
        ),
        log_level: LogLevel = typer.Option(
            LogLevel.INFO,
            envvar="COMFYOPS_LOG_LEVEL",
            case_sensitive=False,
            help="The least important log lines to write.",
        ),
    ) -> None:
        if version:
            from comfyops import __version__

            typer.echo(f"comfyops {__version__}")
            raise typer.Exit
        logs.set_up(log_file, log_format.value if log_format else None, log_level.value)

    return get_command(app)
