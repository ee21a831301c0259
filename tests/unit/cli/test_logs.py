"""Log lines of every command: their form, where they go, and that no secret is in them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from comfyops import config
from comfyops.cli import logs, output
from comfyops.cli.main import run
from comfyops.config import Settings
from comfyops.errors import ModelError
from comfyops.models.hashing import HashProgress
from comfyops.models.progress_log import HashLog, ProgressLog
from comfyops.models.transfer.request import DownloadProgress, Status

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (DEBUG|INFO|WARNING|ERROR) - .*")


@pytest.fixture(autouse=True)
def _quiet_after() -> Iterator[None]:
    yield
    logs.tear_down()


def moved(percent: float, status: Status = "downloading") -> DownloadProgress:
    """A file of a thousand bytes that is so far."""
    return DownloadProgress("vae/flux2-vae.safetensors", 1000, int(percent * 10), 5.0, 1.0, status)


def test_a_download_is_logged_in_the_documented_form(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "comfyops.log"
    logs.set_up(file, "text")
    times = iter(range(100))
    listener = ProgressLog(clock=lambda: float(next(times)))
    for percent in (0, 2.3, 2.4, 50):
        listener(moved(percent))
    listener(moved(100, "completed"))
    lines = file.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert [line.partition(" - INFO - ")[2] for line in lines] == [
        "⬇️  Downloading vae/flux2-vae.safetensors...",
        "   vae/flux2-vae.safetensors: 2.3%",
        "   vae/flux2-vae.safetensors: 50.0%",
        "   vae/flux2-vae.safetensors: 100.0%",
        "✅ vae/flux2-vae.safetensors is in its place",
    ]


def test_json_lines_carry_file_and_percent_as_fields(tmp_path: Path) -> None:
    logs.set_up(tmp_path / "log", "json")
    listener = ProgressLog()
    listener(moved(12.5))
    listener(moved(12.5, "paused"))
    listener(moved(12.5))
    listener(moved(12.5, "failed"))
    data = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [item["level"] for item in data] == ["INFO", "INFO", "INFO", "ERROR"]
    assert all(
        (item["file"], item["percent"], item["total_bytes"]) == (moved(0).model_name, 12.5, 1000) for item in data
    )
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item["time"]) for item in data)
    assert "Resuming" in data[2]["message"]


def test_reading_many_files_is_logged_by_percent(tmp_path: Path) -> None:
    logs.set_up(tmp_path / "log", "json")
    times = iter((0.0, 0.5, 2.0, 4.0, 4.1))
    listener = HashLog(clock=lambda: next(times))
    for read in (100, 200, 201, 900):
        listener(HashProgress(1, 3, read, 1000))
    data = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(item["percent"], item["files"], item["of_files"]) for item in data] == [(20.0, 1, 3), (90.0, 1, 3)]


def test_options_of_logging_may_stand_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.log"
    assert run(["nodes", "ls", "latent", f"--log-file={file}", "--log-format", "json"]) == 0
    assert "classes" in capsys.readouterr().err
    assert "classes" in json.loads(file.read_text().splitlines()[-1])["message"]
    assert run(["nodes", "ls", "--", "--log-file", str(file)]) == 2


def test_log_lines_take_the_place_of_talk_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--log-format", "text", "nodes", "ls", "latent"]) == 0
    out, err = capsys.readouterr()
    assert out and err and all(LINE.fullmatch(line) for line in err.splitlines())
    assert run(["nodes", "show", "nope", "--log-format", "json"]) == 1
    out, err = capsys.readouterr()
    (line,) = (json.loads(line) for line in err.splitlines())
    assert (line["level"], line["code"], out) == ("ERROR", "unknown_class", "")


def test_without_options_talk_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nodes", "ls", "latent"]) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
    logs.set_up()
    logging.getLogger("comfyops.gateway").warning("worn out")
    logging.getLogger("comfyops.gateway").info("not said")
    (line,) = capsys.readouterr().err.splitlines()
    assert LINE.fullmatch(line) and line.endswith("WARNING - worn out")


@pytest.mark.parametrize(
    "options", [["--log-format", "xml"], ["--log-level", "loud"], ["--log-format"], ["--log-file"]], ids=" ".join
)
def test_options_that_make_no_sense_are_told(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nodes", "ls", *options]) == 2
    assert capsys.readouterr().err.startswith("error (usage)")


@pytest.mark.parametrize("level", ["warning", "WARNING", "Warning"])
def test_a_level_is_read_in_capitals_too(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--log-format", "text", "--log-level", level, "nodes", "ls", "latent"]) == 0
    assert capsys.readouterr().err == ""


def test_a_log_file_that_cannot_be_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nodes", "ls", "--log-file", str(tmp_path)]) == 1
    assert "error (storage)" in capsys.readouterr().err


def test_a_message_stays_on_its_line(tmp_path: Path) -> None:
    logs.set_up(tmp_path / "log", "text")
    logging.getLogger("comfyops").warning("one\n2026-01-01 00:00:00,000 - INFO - forged\x1b[31m")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert r"one\n2026" in line and r"\x1b" in line


SECRETS = [name for name, item in Settings.model_fields.items() if "SecretStr" in str(item.annotation)]


def _talked(secret: str) -> None:
    output.say(f"sent {secret} there")


def _failed(secret: str) -> None:
    output.failed(ModelError(f"No answer from https://host/{secret}.", hint=f"Try {secret}."), as_json=False)


def _progress(secret: str) -> None:
    ProgressLog()(DownloadProgress(f"loras/{secret}", 10, 1, 0.0, None, "failed", f"not at /{secret}/"))


def _argument(secret: str) -> None:
    logging.getLogger("comfyops.gateway").error("asked with %r", {"Authorization": f"Bearer {secret}"})


def _traced(secret: str) -> None:
    try:
        raise ValueError(f"odd: {secret}")
    except ValueError:
        logging.getLogger("comfyops.gateway").exception("a fault")


def _extra(secret: str) -> None:
    logging.getLogger("comfyops").error("more", extra={"token": secret, "path": f"/{secret}", "tries": [secret]})


def _of_others(secret: str) -> None:
    logging.getLogger("some.library").error("GET /x?key=%s", secret)


@pytest.mark.parametrize("chosen", ["text", "json"])
@pytest.mark.parametrize("path", [_talked, _failed, _progress, _argument, _traced, _extra, _of_others])
def test_no_secret_of_the_settings_reaches_a_log(
    tmp_path: Path, path: Callable[[str], None], chosen: logs.Format, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"token", "hf_token", "civitai_token", "backup_passphrase"} <= set(SECRETS)
    secrets = {name: f"plain {name} words {number}" for number, name in enumerate(SECRETS)}
    settings = config.override(config.load(), **{name: SecretStr(value) for name, value in secrets.items()})
    logs.protect(settings, "one more of an option")
    known = (*secrets.values(), "one more of an option")
    logs.set_up(tmp_path / "log", chosen, "debug")
    for secret in known:
        path(secret)
    capsys.readouterr()
    logs.set_up(None, chosen, "debug")
    for secret in known:
        path(secret)
    for written in ((tmp_path / "log").read_text(), capsys.readouterr().err):
        assert len(written.splitlines()) >= len(known)
        assert [secret for secret in known if secret in written] == []
