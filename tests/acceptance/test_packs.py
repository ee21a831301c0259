"""`comfyops nodes install`, `packs` and `remove`: packs of custom nodes at their commits, by the installed command.

Repositories are real ones on this disk, the registry and ComfyUI-Manager are simulated, and so is comfy-cli.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.acceptance.processes import COMMAND, Done, comfyops, environment, serving, wait_until
from tests.fake_comfyui import installation
from tests.pack_repository import git_environment, repository, wheel

COMFY = """#!{python}
import pathlib, sys
at = sys.argv.index("--workspace")
root, wanted = pathlib.Path(sys.argv[at + 1]), sys.argv[-1]
assert sys.argv[1] == "--skip-prompt" and "--exit-on-fail" in sys.argv, sys.argv
name, _, version = wanted.partition("@")
folder = root / "custom_nodes" / name
folder.mkdir(parents=True)
(folder / "pyproject.toml").write_text('[project]\\nversion = "' + version + '"\\n')
print("installed", wanted)
"""


class Bench:
    """A ComfyUI, a repository of a pack, and a registry that lists it."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder, self.registry = folder, registry
        self.comfyui = installation(folder / "ComfyUI")
        self.nodes = self.comfyui / "custom_nodes"
        self.nodes.mkdir()
        self.pack = repository(folder / "hub" / "Fine-Pack", marker__txt="first")
        self.packages = folder / "packages"
        self.path = ""

    def __call__(self, *arguments: str | Path, **variables: str) -> Done:
        known = {name: value for name, value in git_environment().items() if name.startswith("GIT_CONFIG")}
        own = {"COMFYOPS_HOME": str(self.folder / "home"), "COMFYOPS_NODE_REGISTRY": self.registry}
        found = {**known, **own, "PIP_TARGET": str(self.packages), "PIP_NO_INDEX": "1", **variables}
        if self.path:
            found["PATH"] = self.path
        return comfyops(*arguments, folder=self.folder, variables=found)

    def install(self, *names: str, **variables: str) -> Done:
        return self("nodes", "install", *names, "--comfyui-path", "ComfyUI", "--yes", "--json", **variables)

    def packs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("nodes", "packs", "--comfyui-path", "ComfyUI", "--json").data
        return found


class Listed:
    """The registry of packs: what it says of each name. Simulated."""

    def __init__(self) -> None:
        self.packs: dict[str, dict[str, Any]] = {}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/nodes/")
        return web.json_response(self.packs[name]) if name in self.packs else web.json_response({}, status=404)


@pytest.fixture(scope="module")
def listed() -> Iterator[tuple[Listed, str]]:
    packs = Listed()
    with serving(packs) as url:
        yield packs, url


@pytest.fixture
def bench(tmp_path: Path, listed: tuple[Listed, str]) -> Bench:
    return Bench(tmp_path, listed[1])


def left(bench: Bench) -> list[str]:
    """What lies in the folder of custom nodes."""
    return sorted(path.name for path in bench.nodes.iterdir())


def test_the_plan_is_shown_and_nothing_is_installed_without_a_yes(bench: Bench) -> None:
    options = ("nodes", "install", bench.pack.url, "--comfyui-path", "ComfyUI")
    asked = bench(*options)
    assert asked.code == 1 and "--yes" in asked.err and left(bench) == []
    assert f"commit {bench.pack.commits[0]}" in asked.err and "by git" in asked.err and "your rights" in asked.err
    dry = bench(*options, "--dry-run", "--json")
    assert dry.code == 0 and dry.data["packs"][0]["commit"] == bench.pack.commits[0] and left(bench) == []


def test_a_pack_is_installed_at_its_commit_with_its_packages(bench: Bench) -> None:
    file = wheel(bench.folder, "helper_of_pack")
    first = bench.pack.commit(
        requirements__txt=f"helper_of_pack @ {file.as_uri()}\n",
        install__py="open('set-up.txt', 'w').write('ran')\n",
    )
    bench.pack.commit(marker__txt="later")
    done = bench.install(f"{bench.pack.url}@{first}")
    (pack,) = done.data["installed"]
    assert (pack["name"], pack["commit"], pack["url"]) == ("Fine-Pack", first, bench.pack.url)
    assert (bench.nodes / "Fine-Pack" / "marker.txt").read_text() == "first"
    assert (bench.nodes / "Fine-Pack" / "set-up.txt").read_text() == "ran"
    assert (bench.packages / "helper_of_pack.py").is_file()
    assert bench.packs() == [pack] and left(bench) == ["Fine-Pack"]
    again = bench.install(f"{bench.pack.url}@{first}")
    assert again.code == 0 and again.data["installed"] == [] and again.data["packs"][0]["how"] == "there"


@pytest.mark.parametrize("pin", ["1.0", "v1.0", "main", ""])
def test_versions_tags_and_branches_become_commits(bench: Bench, pin: str) -> None:
    bench.pack.tag("v1.0")
    tagged = bench.pack.commits[-1]
    newest = bench.pack.commit(marker__txt="later")
    done = bench.install(f"{bench.pack.url}@{pin}" if pin else bench.pack.url)
    assert done.data["installed"][0]["commit"] == (tagged if "1.0" in pin else newest)


def test_a_pack_is_moved_to_another_commit_and_keeps_what_git_does_not_know(bench: Bench) -> None:
    first, second = bench.pack.commits[0], bench.pack.commit(marker__txt="second")
    assert bench.install(f"{bench.pack.url}@{second}").code == 0
    kept = bench.nodes / "Fine-Pack" / "own.txt"
    kept.write_text("mine")
    assert bench.install(f"{bench.pack.url}@{first}").data["installed"][0]["commit"] == first
    assert (bench.nodes / "Fine-Pack" / "marker.txt").read_text() == "first" and kept.read_text() == "mine"
    (bench.nodes / "Fine-Pack" / "marker.txt").write_text("changed by hand")
    refused = bench.install(f"{bench.pack.url}@{second}")
    assert refused.code == 1 and "changed by hand" in refused.envelope["data"]["failed"][0]["message"]
    assert (bench.nodes / "Fine-Pack" / "marker.txt").read_text() == "changed by hand"


def test_a_commit_of_a_fork_is_had_from_the_fork(bench: Bench) -> None:
    assert bench.install(bench.pack.url).code == 0
    fork = repository(bench.folder / "fork" / "Fine-Pack", marker__txt="of the fork")
    (pack,) = bench.install(f"{fork.url}@{fork.commits[0]}").data["installed"]
    assert (pack["commit"], pack["url"]) == (fork.commits[0], fork.url)
    assert bench.install(f"{fork.url}@{'1' * 40}").code == 1
    assert bench.packs() == [pack]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"requirements__txt": "a-package-that-nobody-has\n"}, "a-package-that-nobody-has"),
        ({"install__py": "raise SystemExit('it cannot be set up')\n"}, "it cannot be set up"),
    ],
)
def test_nothing_is_left_of_a_pack_that_fails(bench: Bench, files: dict[str, str], words: str) -> None:
    good, bad = bench.pack.commits[0], bench.pack.commit(**files)
    done = bench.install(f"{bench.pack.url}@{bad}")
    (failed,) = done.envelope["data"]["failed"]
    assert done.code == 1 and failed["code"] == "node_pack" and words in failed["message"], failed
    assert left(bench) == []
    assert bench.install(f"{bench.pack.url}@{good}").code == 0
    assert bench.install(f"{bench.pack.url}@{bad}").code == 1
    assert bench.packs()[0]["commit"] == good


SLOW = """
import os, pathlib, time
if pathlib.Path("../slow").exists():
    pathlib.Path("../begun.new").write_text(str(os.getpid()))
    os.replace("../begun.new", "../begun")
    time.sleep(600)
"""


def test_a_kill_in_the_middle_does_no_harm(bench: Bench) -> None:
    first, second = bench.pack.commit(install__py=SLOW), bench.pack.commit(marker__txt="second")
    for commit, before in ((first, None), (second, first)):
        (bench.nodes / "slow").touch()
        with begun(bench, commit) as process:
            wait_until((bench.nodes / "begun").exists)
            busy = bench.install(f"{bench.pack.url}@{commit}")
            assert "another installation of packs" in busy.envelope["data"]["failed"][0]["message"]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.kill(int((bench.nodes / "begun").read_text()), signal.SIGKILL)
        for name in ("slow", "begun"):
            (bench.nodes / name).unlink()
        assert [pack["name"] for pack in bench.packs()] == (["Fine-Pack"] if before else [])
        assert bench.install(f"{bench.pack.url}@{commit}").data["installed"][0]["commit"] == commit
    assert left(bench) == ["Fine-Pack"]


@contextmanager
def begun(bench: Bench, commit: str) -> Iterator[subprocess.Popen[bytes]]:
    """An installation that runs; killed at the end, where it has not ended."""
    options = ("nodes", "install", f"{bench.pack.url}@{commit}", "--comfyui-path", "ComfyUI", "--yes")
    variables = environment(COMFYOPS_HOME=str(bench.folder / "home"))
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        [COMMAND, *options], cwd=bench.folder, env=variables, stdout=quiet, stderr=quiet, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_another_pytorch_is_refused(bench: Bench) -> None:
    info = bench.comfyui / "torch-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0\n")
    file = wheel(bench.folder, "torch", "9.9")
    bad = bench.pack.commit(requirements__txt="torch==9.9\n")
    found = {"PYTHONPATH": str(bench.comfyui), "PIP_FIND_LINKS": str(file.parent)}
    done = bench.install(f"{bench.pack.url}@{bad}", **found)
    assert done.code == 1 and left(bench) == [] and not (bench.packages / "torch.py").exists(), done


def test_a_commit_or_tag_that_is_not_there_is_said(bench: Bench) -> None:
    for pin in ("0" * 40, "v9", "abcdef1"):
        done = bench.install(f"{bench.pack.url}@{pin}")
        (failed,) = done.envelope["data"]["failed"]
        assert done.code == 1 and pin in failed["message"], done
    assert "40 characters" in failed["hint"] and left(bench) == []


def test_the_registry_tells_the_repository_of_a_name(bench: Bench, listed: tuple[Listed, str]) -> None:
    listed[0].packs["fine-pack"] = {"id": "fine-pack", "repository": bench.pack.url}
    done = bench.install("fine-pack")
    assert done.data["installed"][0]["name"] == "Fine-Pack" and done.data["packs"][0]["how"] == "git"
    unknown = bench.install("nobody-has-this")
    assert unknown.code == 1 and "does not have nobody-has-this" in unknown.envelope["data"]["failed"][0]["message"]
    listed[0].packs["bad"] = {"id": "bad", "repository": "ext::sh -c touch"}
    assert "no repository is known" in bench.install("bad").envelope["data"]["failed"][0]["message"]
    offline = bench.install("other", COMFYOPS_OFFLINE="1")
    assert offline.code == 1 and "offline" in offline.envelope["data"]["failed"][0]["message"]


def test_the_official_installer_brings_versions_where_it_can(bench: Bench, listed: tuple[Listed, str]) -> None:
    listed[0].packs["versioned"] = {"id": "versioned", "latest_version": {"version": "2.3.4"}}
    programs = bench.folder / "programs"
    programs.mkdir()
    (programs / "comfy").write_text(COMFY.replace("{python}", sys.executable))
    (programs / "comfy").chmod(0o755)
    bench.path = f"{programs}:/usr/bin:/bin"
    without = bench.install("versioned")
    assert without.code == 1 and "no repository" in without.envelope["data"]["failed"][0]["message"]
    (bench.comfyui / "cm_cli.py").write_text("")
    done = bench.install("versioned", PYTHONPATH=str(bench.comfyui))
    assert done.data["packs"][0]["how"] == "comfy-cli" and done.data["installed"][0]["version"] == "2.3.4", done


class Manager:
    """ComfyUI-Manager of one generation. Simulated."""

    def __init__(self, prefix: str, *, refuses: bool = False, old_page: bool = False) -> None:
        self.prefix, self.refuses = prefix, refuses
        self.route = "/manager/queue/" + ("batch" if old_page else "task" if prefix else "install")
        self.asked: list[Any] = []
        self.looks = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        route = request.path.removeprefix(self.prefix) if request.path.startswith(self.prefix) else ""
        if route == self.route:
            self.asked.append(await request.json())
            return web.Response(status=403 if self.refuses else 200)
        if route == "/manager/queue/status":
            self.looks += 1
            done = int(self.looks > 1)
            return web.json_response({"total_count": 1, "done_count": done, "is_processing": not done})
        if route == "/customnode/installed":
            version = "1.5" if self.asked else ""
            return web.json_response({"ManagedPack": {"cnr_id": "managed", "ver": version, "enabled": True}})
        return (
            web.json_response("V4")
            if route in ("/manager/version", "/manager/queue/start")
            else web.Response(status=404)
        )


@pytest.mark.parametrize(("prefix", "old_page"), [("/v2", False), ("/v2", True), ("", False)])
def test_comfyui_manager_brings_versions_to_its_server(
    bench: Bench, listed: tuple[Listed, str], prefix: str, old_page: bool
) -> None:
    listed[0].packs["managed"] = {"id": "managed", "latest_version": {"version": "1.5"}}
    manager = Manager(prefix, old_page=old_page)
    with serving(manager) as url:
        done = bench("nodes", "install", "managed", "--server", url, "--yes", "--json")
    assert done.data["packs"][0]["how"] == "manager" and done.data["installed"][0]["version"] == "1.5", done
    (asked,) = manager.asked
    params = asked["install"][0] if old_page else asked["params"] if prefix else asked
    assert (params["id"], params["selected_version"]) == ("managed", "1.5")


def test_a_manager_that_refuses_is_said(bench: Bench, listed: tuple[Listed, str]) -> None:
    listed[0].packs["managed"] = {"id": "managed", "latest_version": {"version": "1.5"}}
    with serving(Manager("/v2", refuses=True)) as url:
        done = bench("nodes", "install", "managed", "--server", url, "--yes", "--json")
    (failed,) = done.envelope["data"]["failed"]
    assert done.code == 1 and "403" in failed["message"] and "security level" in failed["hint"]


def test_packs_are_taken_away_only_with_a_yes(bench: Bench) -> None:
    bench.install(bench.pack.url)
    (bench.nodes / "linked").symlink_to(bench.pack.folder)
    options = ("nodes", "remove", "fine-pack", "linked", "--comfyui-path", "ComfyUI")
    assert bench(*options).code == 1 and left(bench) == ["Fine-Pack", "linked"]
    assert bench(*options, "--yes").code == 0 and left(bench) == [] and bench.pack.folder.is_dir()
    bench(*options, "--yes").failed_with("node_pack", "no pack 'fine-pack'")


def test_the_packs_of_a_manifest_are_had_at_their_commits(bench: Bench) -> None:
    bench.pack.commit(marker__txt="later")
    manifest = {"custom_nodes": [{"url": bench.pack.url, "commit_hash": bench.pack.commits[0]}]}
    (bench.folder / "snapshot.json").write_text(json.dumps(manifest))
    done = bench("nodes", "install", "--from", "snapshot.json", "--comfyui-path", "ComfyUI", "--yes", "--json")
    assert done.data["installed"][0]["commit"] == bench.pack.commits[0]
    (bench.folder / "snapshot.json").write_text("{}")
    bench("nodes", "install", "--from", "snapshot.json", "--yes").failed_with("node_pack", "lists no packs")
    bench("nodes", "install").failed_with("usage", "No pack is named", exit_code=2)


def test_bad_wishes_are_refused_in_one_sentence(bench: Bench) -> None:
    options = ("--comfyui-path", "ComfyUI", "--yes")
    bench("nodes", "install", "--comfyui-path", "x", "a").failed_with("file_missing", "x is no folder")
    bench("nodes", "install", "ext::sh -c x", *options).failed_with("usage", "names no pack", exit_code=2)
    bench("nodes", "install", "a", "--by", "magic", *options).failed_with("usage", "--by", "magic", exit_code=2)
    bench("nodes", "install", "a", "--by", "manager", *options).failed_with("usage", "--server", exit_code=2)
    bench("nodes", "packs", "--comfyui-path", "x").failed_with("file_missing")
