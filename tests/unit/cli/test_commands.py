"""Every command: its help, and that it can be asked for JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from comfyops.cli.app import build
from comfyops.cli.main import run


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, the groups too."""
    command = command or build()
    yield path, command
    if hasattr(command, "list_commands"):
        context = command.make_context("comfyops", ["x"], resilient_parsing=True)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_ends_well_and_names_every_option(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([*path, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "Usage: " + " ".join(["comfyops", *path]) in out
    for parameter in ALL[path].params:
        assert (parameter.metavar or parameter.opts[0]).lstrip("-") in out
        assert parameter.name in ("install_completion", "show_completion", "help") or getattr(parameter, "help", "")
    assert ("--install-completion" in out) is (path == ())


@pytest.mark.parametrize("path", [path for path, item in ALL.items() if not hasattr(item, "list_commands")])
def test_every_command_speaks_json(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in [option for parameter in ALL[path].params for option in parameter.opts]
    assert run([*path, "--json", "--no-such-option"]) == 2
    out, err = capsys.readouterr()
    envelope = json.loads(out)
    assert err == "" and (envelope["ok"], envelope["error"]["code"]) == (False, "usage")
    assert envelope["command"] == " ".join(path)


def test_json_after_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nodes", "ls", "--", "--json"]) == 0
    assert capsys.readouterr() == ("", "0 of 887 classes\n")


def test_the_version_is_short_and_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert [run(["--version"]), run(["-v"]), run(["--version", "nodes"])] == [0, 0, 0]
    assert len(set(capsys.readouterr().out.splitlines())) == 1


@pytest.mark.parametrize("text", ["color", "=3", ""])
def test_a_change_without_a_name_or_value_is_refused(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"1": {"class_type": "X", "inputs": {}}}')))
    assert run(["run", "-", "--set", text]) == 2
    assert "--set takes NAME=VALUE" in capsys.readouterr().err
