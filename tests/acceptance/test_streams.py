"""Pipes, terminals and disks that are not as one would wish."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import COMMAND, SECONDS, Server, comfyops, environment

DISK_FULL = Path("/dev/full")


def shell(line: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which $C is the command."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment(C=COMMAND, **variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_reader_that_goes_away_is_no_accident(tmp_path: Path) -> None:
    done = shell("$C nodes ls 2>err.txt | head -1; echo ${PIPESTATUS[0]}; cat err.txt", tmp_path)
    assert (done.stdout.splitlines()[1:], done.stderr) == (["1"], "")


@pytest.mark.skipif(not DISK_FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("options", ["--version", "--help", "nodes ls latent", "nodes ls --json"])
def test_a_full_disk_behind_stdout_is_told(options: str) -> None:
    done = shell(f"$C {options} > {DISK_FULL}")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error (disk_full): standard output cannot be written: no space is left on the disk.",
    )
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


def test_closed_streams_do_not_break_a_command(folder: Path) -> None:
    line = (
        "$C workflow validate picture.json >&-; echo $?; $C workflow validate none 2>&-; echo $?; $C run - <&-; echo $?"
    )
    done = shell(line, folder)
    assert done.stdout == "0\n1\n2\n"
    assert done.stderr.splitlines()[0] == "error (usage): There is no stdin to read a workflow from."


def small_files() -> None:
    """Let this process write no file larger than 100 bytes: a stand-in for a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("options", [("nodes", "snapshot", "-o", "facts.json"), ("run", "picture.json", "-o", ".")])
def test_what_cannot_be_written_whole_is_not_written_at_all(
    server: Server, folder: Path, options: tuple[str, ...]
) -> None:
    before = set(folder.rglob("*"))
    done = limited(small_files, *options, "--server", server.url, folder=folder)
    assert done.returncode == 1 and done.stderr.splitlines()[-2].startswith("error (storage): "), done
    assert set(folder.rglob("*")) == before


def test_a_rendering_on_a_full_disk_ends_and_goes_on_when_there_is_space(server: Server, folder: Path) -> None:
    options = ("storyboard", "demo", "--server", server.url, "-o", "out")
    done = limited(some_files, *options, folder=folder)
    assert done.returncode == 1 and "error (storage): " in done.stderr and "Traceback" not in done.stderr
    assert not list(folder.rglob("*.part"))
    again = comfyops(*options, "--json", folder=folder)
    assert again.code == 0 and len(list(folder.rglob("panels/*.png"))) == 4


def some_files() -> None:
    """Let this process write texts, but no pictures."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def limited(limit: Callable[[], None], *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command under a limit of the system."""
    return subprocess.run(
        [COMMAND, *options],
        cwd=folder,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_names_of_any_kind_are_shown_on_any_terminal(server: Server, folder: Path) -> None:
    name = "größe [bold] 日本.json"
    (folder / "picture.json").rename(folder / name)
    done = comfyops("run", name, "--server", server.url, "-o", "öut [red]", folder=folder)
    assert done.out.startswith("öut [red]/") and (folder / done.out.strip()).is_file()
    utf8 = comfyops("workflow", "validate", name, folder=folder, variables={"LC_ALL": "C"})
    assert utf8.out == f"{name}: valid\n"
    ascii_only = comfyops("workflow", "validate", name, folder=folder, variables={"PYTHONIOENCODING": "ascii"})
    assert ascii_only.out == "gr\\xf6\\xdfe [bold] \\u65e5\\u672c.json: valid\n"
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (report,) = comfyops("workflow", "validate", name, "--json", folder=folder, variables=old).data
    assert os.fsencode(report["file"]).decode() == name


def test_characters_that_steer_a_terminal_are_not_passed_on(folder: Path) -> None:
    title = "\x1b]0;owned\x07\x1b[2J"
    graph = {"1": {"class_type": "PreviewAny", "inputs": {"source": "x"}, "_meta": {"title": title}}}
    (folder / "evil.json").write_text(json.dumps(graph))
    done = comfyops("workflow", "show", "evil.json", folder=folder)
    assert done.code == 0 and "\x1b" not in done.out and "\\x1b]0;owned\\x07" in done.out


def test_a_file_that_may_not_be_read_is_told(folder: Path) -> None:
    (folder / "picture.json").chmod(0)
    if os.access(folder / "picture.json", os.R_OK):
        (folder / "picture.json").unlink()
        (folder / "picture.json").mkdir()  # root may read anything but this
    comfyops("run", "picture.json", folder=folder).failed_with("file_missing", "picture.json cannot be read")
