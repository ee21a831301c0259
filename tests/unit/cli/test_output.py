"""The printer: one value for people and programs, harmless text, exit codes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from comfyops.cli import output
from comfyops.cli.output import Result, plain
from comfyops.errors import DiskFullError, UsageError
from comfyops.workflows.problems import Severity


@dataclass(frozen=True)
class _Thing:
    path: Path
    kind: Severity
    number: float


def test_data_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.emit(Result("x", None, ["[bold]data[/]"], ["note"], exit_code=1), as_json=False) == 1
    assert capsys.readouterr() == ("data\n", "note\n")


def test_what_would_steer_a_terminal_or_turn_a_line_round_is_shown_as_digits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.emit(Result("x", None, ["a\x1b[2Jb\x9bc\u202ed\u2066e\u2028f"]), as_json=False)
    assert capsys.readouterr().out == "a\\x1b[2Jb\\x9bc\\u202ed\\u2066e\\u2028f\n"


def test_the_envelope_holds_everything_a_program_needs(capsys: pytest.CaptureFixture[str]) -> None:
    thing = _Thing(Path("a/b"), Severity.ERROR, math.nan)
    assert output.emit(Result("x", {"things": (thing,)}, ["text"], ["note"]), as_json=True) == 0
    out, err = capsys.readouterr()
    envelope = json.loads(out, parse_constant=pytest.fail)
    assert envelope["data"] == {"things": [{"path": "a/b", "kind": "error", "number": "nan"}]}
    assert (envelope["ok"], envelope["error"], err) == (True, None, "")


@pytest.mark.parametrize(("error", "code"), [(DiskFullError("Full."), 1), (UsageError("Odd."), 2), (KeyError("x"), 1)])
def test_errors_are_said_in_one_line_with_a_hint(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    assert output.failed(error, as_json=False) == code
    out, err = capsys.readouterr()
    assert out == "" and [line.partition(":")[0].split()[0] for line in err.splitlines()] == ["error", "hint"]


def test_an_internal_error_says_where_only_when_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYOPS_DEBUG", raising=False)
    output.failed(KeyError("x"), as_json=False)
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("COMFYOPS_DEBUG", "1")
    output.failed(KeyError("x"), as_json=True)
    out, err = capsys.readouterr()
    assert err.startswith("Traceback") or "KeyError" in err
    assert json.loads(out)["error"]["code"] == "internal"


def test_a_file_that_the_system_refuses_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.failed(PermissionError(13, "Permission denied", "/secret/x"), as_json=True) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["message"]) == ("storage", "/secret/x cannot be used: permission denied.")


def test_interruption_is_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.failed(typer.Abort(), as_json=True, command="run") == 130
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "interrupted"
    assert output.interrupted(as_json=False) == 130
    assert output.failed(typer.Exit(3), as_json=False) == 3


def test_a_line_that_cannot_be_made_fails_before_anything_is_printed() -> None:
    with pytest.raises(ZeroDivisionError):
        Result("x", None, (str(1 // number) for number in (1, 0)))


def test_numbers_get_their_noun() -> None:
    assert [output.count(number, "output") for number in (0, 1, 2)] == ["0 outputs", "1 output", "2 outputs"]


def test_mappings_and_sets_become_json() -> None:
    assert plain({1: {2}, "x": (None, True, 1.5, -math.inf)}) == {"1": [2], "x": [None, True, 1.5, "-inf"]}
