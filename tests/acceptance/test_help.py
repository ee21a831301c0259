"""Help, versions and completion of the installed command."""

from __future__ import annotations

import subprocess
import sys

import comfyops
from comfyops.cli.app import COMMANDS
from tests.acceptance import processes
from tests.acceptance.processes import COMMAND, SECONDS, environment


def complete(*words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return processes.comfyops(variables={**variables, "_COMFYOPS_COMPLETE": "complete_bash"}).out.split()


def test_the_version_needs_no_command_line_library() -> None:
    code = "import sys; from comfyops.cli.main import run; run(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"comfyops {comfyops.__version__}"
    assert not {"typer", "rich", "pydantic", "aiohttp", "asyncio"} & set(modules.split())
    assert processes.comfyops("--version").out == f"{version}\n"


def test_checking_a_workflow_imports_no_network(folder: object) -> None:
    code = "import sys; from comfyops.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, "workflow", "validate", "picture.json"]
    done = subprocess.run(command, cwd=str(folder), capture_output=True, text=True, timeout=SECONDS, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "typer" in modules and not {"aiohttp", "pydantic_settings", "PIL"} & set(modules)


def test_completion_knows_nested_commands_and_their_options() -> None:
    assert complete("comfyops", "") == list(COMMANDS)
    assert complete("comfyops", "workflow", "va") == ["validate"]
    assert complete("comfyops", "storyboard", "render", "--par") == ["--parallel"]
    assert {"--set", "--no-wait", "--server"} <= set(complete("comfyops", "run", "--"))


def test_bash_completes_with_the_printed_script() -> None:
    line = (
        'eval "$($C --show-completion bash)"; comfyops() { "$C" "$@"; }; '
        "COMP_WORDS=(comfyops jobs ca); COMP_CWORD=2; _comfyops_completion comfyops; echo ${COMPREPLY[@]}"
    )
    folder = COMMAND.rpartition("/")[0]
    variables = environment(C=COMMAND, PATH=f"{folder}:/usr/bin:/bin")
    done = subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == "cancel\n", done


def test_a_mistyped_command_or_option_is_answered_with_the_nearest() -> None:
    processes.comfyops("workflw").failed_with("usage", "'workflow'", exit_code=2)
    processes.comfyops("workflow", "valdate").failed_with("usage", "'validate'", exit_code=2)
    processes.comfyops("jobs", "ls", "--servr", "x").failed_with("usage", "--server", "jobs ls --help", exit_code=2)
    alone = processes.comfyops()
    assert alone.code == 2 and "Usage: comfyops" in alone.out and alone.err == ""
