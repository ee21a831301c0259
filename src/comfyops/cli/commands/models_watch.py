"""`comfyops models verify --schedule`: rounds that read every byte, until Ctrl-C; and what runs them for good."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from comfyops import app as parts
from comfyops.cli.model_options import Session, rate
from comfyops.cli.options import wait_for
from comfyops.cli.output import Result, count, emit, say
from comfyops.models import rounds
from comfyops.models.catalog import Choice
from comfyops.models.rounds import Health
from comfyops.support import schedules
from comfyops.support.schedules import Schedule

_UNIT = """[Unit]
Description=ComfyOps reads the models of {root} and tells what is wrong
After=local-fs.target network-online.target

[Service]
Type=exec
EnvironmentFile=-/etc/comfyops/environment
ExecStart={command}
Restart=on-failure
RestartSec=60
Nice=10
IOSchedulingClass=idle
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Plan:
    """What is to be watched, and when; `options` say the same on a command line."""

    watched: Health
    schedule: Schedule
    options: tuple[str, ...]


def planned(
    session: Session,
    chosen: Choice,
    schedule: str,
    limit_rate: str,
    prometheus: Path | None,
    further: Sequence[str] = (),
) -> Plan:
    """What the options mean; `further` ones are passed on to what is printed. Raises UsageError, UnknownModelError."""
    when = schedules.parse(schedule)
    options = {"figures": prometheus.absolute() if prometheus else None, "rate": rate(limit_rate)}
    watched = parts.model_health(session.provision, session.wanted(chosen), session.settings, **options)
    same = [*chosen.models, *(f"--group={name}" for name in chosen.groups)]
    same += ["--all"] * chosen.everything + ["--include-optional"] * chosen.optional
    root = session.storage.root.absolute()
    is_plain = session.settings.models_dir is not None
    same += [*further, f"--models-dir={root}" if is_plain else f"--comfyui-path={root.parent}"]
    same += [f"--prometheus={prometheus.absolute()}"] if prometheus else []
    return Plan(watched, when, (*same, f"--limit-rate={limit_rate}", f"--schedule={schedule}"))


def printed(plan: Plan, *, as_cron: bool) -> Result:
    """A unit for systemd, or a line for cron."""
    program = shutil.which("comfyops") or sys.argv[0]
    if as_cron:
        kept = [item for item in plan.options if not item.startswith(("--limit-rate", "--schedule"))]
        command = shlex.join([program, "models", "health", "--deep", *kept]).replace("%", "\\%")
        text = f"{schedules.as_cron(plan.schedule)}  {command}"
    else:
        command = " ".join(_quoted(item) for item in (program, "models", "verify", *plan.options))
        text = _UNIT.format(root=str(plan.watched.provision.storage.root).replace("%", "%%"), command=command)
    return Result("models verify", {"text": text}, [escape(text.rstrip("\n"))])


def run(plan: Plan, *, as_json: bool) -> None:
    """Watch until Ctrl-C or SIGTERM, which are the ways in which this is meant to end."""
    due = rounds.next_round(plan.watched.load(), plan.schedule)
    when = "now" if due <= time.time() else time.strftime("at %Y-%m-%d %H:%M", time.localtime(due))
    data = {"models": len(plan.watched.wanted), "record": plan.watched.record, "next_round": due or time.time()}
    if as_json:
        emit(Result("models verify", data), as_json=True)
    words = f"{count(len(plan.watched.wanted), 'model')} watched, the next round begins {when} (stop it with Ctrl-C)"
    say(words)
    with contextlib.suppress(KeyboardInterrupt):
        wait_for(rounds.watch(plan.watched, plan.schedule))


def _quoted(text: str) -> str:
    """A word as systemd reads it."""
    text = text.replace("%", "%%").replace("$", "$$")
    if any(mark in text for mark in " \t\"'\\;"):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
