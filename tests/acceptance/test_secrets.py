"""`comfyops secrets` as people run it: one source, files in step, drift as exit code 1, and never a value in sight."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import bcrypt
import dotenv
import pytest
import yaml

from tests.acceptance import processes
from tests.acceptance.processes import Done
from tests.unit.auth.secrets.values import HASH, PASSWORD, TOKEN

DOCKER = "docker-configurations/services/comfyui-qwen"
WORDS = "canary-passphrase-of-a-backup"
CANARIES = (HASH, PASSWORD, TOKEN, WORDS, HASH[7:40], PASSWORD[:12], TOKEN[:12])
ENV = f"# mine\nHF_TOKEN={TOKEN} # keep\nCOMFYUI_API_TOKEN=COMFYUI_API_TOKEN={HASH}\nPORT = '8188'\n"

Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command in the folder; whatever it prints is looked through for values, those made since included."""

    def command(*words: str | Path, stdin: str | None = None, **variables: str) -> Done:
        before = values(tmp_path)
        variables = {"COMFYOPS_DEBUG": "1", **home(tmp_path), **variables}
        data = None if stdin is None else stdin.encode()
        done = processes.comfyops("secrets", *words, folder=tmp_path, stdin=data, variables=variables)
        for value in {*CANARIES, *before, *values(tmp_path)}:
            assert value not in done.out + done.err, f"{words} shows a value"
        assert "Traceback" not in done.err
        return done

    return command


def home(folder: Path) -> dict[str, str]:
    """A home beside the folder, for the audit log."""
    return {"COMFYOPS_HOME": f"{folder}-home"}


def values(folder: Path) -> set[str]:
    """The secret values of the document, old ones included."""
    file = folder / ".secrets/comfyops.yaml"
    try:
        held = yaml.safe_load(file.read_text())
        secrets = held["secrets"].values()
        found = {
            x
            for item in secrets
            for part in ("fields", "previous")
            for k, x in item.get(part, {}).items()
            if k != "username"
        }
        return {x for x in found | {held["fingerprint_key"]} if len(x) > 8}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return set()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What the documented tools left behind."""
    (tmp_path / ".secrets").mkdir()
    (tmp_path / DOCKER).mkdir(parents=True)
    files = [".env", ".secrets/qwen-api-user.token", f"/elsewhere/{DOCKER}/.env"]
    conf = {"raw_token": PASSWORD, "bcrypt_hash": HASH, "target_files": files}
    (tmp_path / ".secrets/comfyui_auth_tokens.conf").write_text(json.dumps(conf))
    (tmp_path / ".secrets/qwen-api-user.token").write_text(HASH + "\n")
    (tmp_path / ".env").write_text(ENV)
    (tmp_path / DOCKER / ".env").write_text(f"COMFYUI_BEARER_TOKEN={HASH}\nGPU_DEVICE_ID=0\n")
    return tmp_path


def held(folder: Path, name: str = "comfyui") -> dict[str, str]:
    fields: dict[str, str] = yaml.safe_load((folder / ".secrets/comfyops.yaml").read_text())["secrets"][name]["fields"]
    return fields


def test_from_the_old_files_to_files_in_step(site: Path, run: Run) -> None:
    old = run("import", "--json").data
    assert {item["kind"] for item in old["read"]} == {"conf C", "token", "env"} and old["remarks"]
    assert (site / ".env").read_text() == ENV
    planned = run("plan", "--json").data
    assert planned["drift"] is True and run("plan").code == 0
    assert run("check").code == run("sync", "--validate").code == 1
    done = run("apply", "--json").data
    assert [item["path"] for item in done["written"]] == [
        item["path"] for item in planned["targets"] if item["changes"]
    ]
    assert (
        (site / ".env")
        .read_text()
        .startswith(f"# mine\nHF_TOKEN={TOKEN} # keep\nCOMFYUI_API_TOKEN='{HASH}'\nPORT = '8188'\n")
    )
    assert dotenv.dotenv_values(site / ".env", interpolate=True)["COMFYUI_API_TOKEN"] == HASH
    assert dotenv.dotenv_values(site / DOCKER / ".env", interpolate=True)["COMFYUI_BEARER_TOKEN"] == HASH
    assert run("check").code == run("sync", "--validate").code == 0


def test_doing_it_again_changes_nothing(site: Path, run: Run) -> None:
    def everything() -> dict[str, tuple[bytes, int]]:
        files = [path for path in site.rglob("*") if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    assert run("sync", "--unify").code == 0
    before = everything()
    assert run("sync", "--unify").code == run("apply").code == 0
    assert run("apply", "--json").data["written"] == [] and everything() == before


def test_permissions_are_the_owners_alone(site: Path, run: Run) -> None:
    (site / ".secrets").chmod(0o755)
    assert run("sync", "--unify").code == 0
    run("backup")
    for path in (site / ".secrets", *(site / ".secrets").rglob("*"), site / ".env", site / DOCKER / ".env"):
        if path.name not in ("comfyui_auth_tokens.conf",):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    (site / ".secrets/comfyops.yaml").chmod(0o644)
    (site / ".env").chmod(0o644)
    found = run("check", "--json")
    codes = {(item["code"], item["subject"]) for item in found.envelope["data"]["findings"]}
    assert found.code == 1 and codes == {("permissions", "comfyops.yaml"), ("drift", ".env")}
    assert run("apply").code == run("check").code == 0


@pytest.mark.parametrize("how", ["changed", "removed", "broken"])
def test_drift_is_exit_code_1_and_apply_repairs_it(site: Path, run: Run, how: str) -> None:
    run("sync", "--unify")
    env = site / ".env"
    if how == "changed":
        env.write_text(env.read_text().replace("COMFYUI_API_TOKEN='$2b", "COMFYUI_API_TOKEN='$2a"))
    elif how == "removed":
        env.unlink()
    else:
        env.write_text(env.read_text() + f"X='{TOKEN}\n")
    for words in (["check"], ["sync", "--validate"], ["sync", "--audit"], ["sync"]):
        assert run(*words, "--json").code == 1
    if how == "broken":
        before = (site / DOCKER / ".env").read_bytes(), env.read_bytes()
        run("apply").failed_with("secrets", ".env", "never closed")
        assert before == ((site / DOCKER / ".env").read_bytes(), env.read_bytes())
    else:
        assert run("apply").code == run("check").code == 0


def test_a_new_site_gets_a_random_login(tmp_path: Path, run: Run) -> None:
    assert run("sync", "--audit").code == 1
    run("plan").failed_with("secrets", "no document", "sync --unify")
    assert run("sync", "--unify", "--report", "report.json").code == 0
    made = held(tmp_path)
    assert bcrypt.checkpw(made["password"].encode(), made["hash"].encode())
    assert (tmp_path / ".secrets/qwen-api-user.token").read_text() == made["hash"]
    assert made["hash"] not in (tmp_path / "report.json").read_text()


def test_a_rotation_with_a_window(site: Path, run: Run) -> None:
    run("sync", "--unify")
    file = site / ".secrets/comfyops.yaml"
    document = yaml.safe_load(file.read_text())
    document["targets"][0]["keys"]["OLD_TOKEN"] = "comfyui.previous.hash"
    file.write_text(yaml.safe_dump(document))
    assert run("check").code == 0
    done = run("rotate", "comfyui", "--overlap", "1h", "--json").data
    new = held(site)["hash"]
    assert new != HASH and "comfyui" in done["old_valid_until"]
    read = dotenv.dotenv_values(site / document["targets"][0]["path"])
    assert {"OLD_TOKEN": HASH, "COMFYUI_API_TOKEN": new}.items() <= read.items()
    run("rotate").failed_with("secrets", "still in force", "--finish")
    assert run("check").code == 0
    assert run("rotate", "--finish").code == run("check").code == 0
    assert HASH not in (site / ".env").read_text() + file.read_text()
    log = processes.comfyops("audit", "ls", "--action", "secrets.", "--json", variables=home(site)).out
    records = [item["action"] for item in json.loads(log)["data"]]
    assert records == [f"secrets.{action}" for action in ("finish", "rotate", "apply", "import")]
    stored = b"".join(path.read_bytes() for path in Path(home(site)["COMFYOPS_HOME"]).iterdir())
    assert not any(value.encode() in stored for value in (new, HASH, PASSWORD))


def test_a_window_that_is_over_is_drift(site: Path, run: Run) -> None:
    run("sync", "--unify")
    run("rotate", "--overlap", "1h")
    file = site / ".secrets/comfyops.yaml"
    file.write_text(re.sub(r"(previous_until: .)20\d\d", r"\g<1>2020", file.read_text()))
    found = run("check", "--json")
    assert found.code == 1 and found.envelope["data"]["findings"][0]["code"] == "window_over"
    assert run("apply").code == run("check").code == 0 and "previous" not in file.read_text()


def test_values_of_ones_own_come_from_stdin_and_weak_ones_are_refused(tmp_path: Path, run: Run) -> None:
    assert run("rotate", "worker", "--create", "--kind", "token", "--value-stdin", stdin=f"{TOKEN}\n").code == 0
    assert held(tmp_path, "worker") == {"value": TOKEN}
    run("rotate", "worker", "--value-stdin", stdin="weak-canary-1").failed_with("weak_secret", "shorter")
    run("rotate", "worker", "--value-stdin", stdin="").failed_with("usage", "empty", exit_code=2)
    run("rotate", "worker", "--overlap", "soon").failed_with("usage", "--overlap", exit_code=2)
    run("rotate", "nobody").failed_with("secrets", "no secret of this name")
    run("rotate", "worker", "--create", "--kind", "token").failed_with("secrets", "already")
    run("rotate", "x", "--create", "--kind", "other").failed_with("secrets", "kind")
    assert held(tmp_path, "worker") == {"value": TOKEN}


def test_published_secrets_are_refused_and_made_anew(site: Path, run: Run) -> None:
    published = "$2b$12$03f3f6f91f4175e338c314f7bd96ebd3dd834b53c1813d69d830f"
    for path in (site / ".env", site / ".secrets/qwen-api-user.token", site / DOCKER / ".env"):
        path.write_text(path.read_text().replace(HASH, published))
    conf = site / ".secrets/comfyui_auth_tokens.conf"
    conf.write_text(json.dumps({"raw_token": "coursia-2025", "bcrypt_hash": published}))
    for words in (["import"], ["sync", "--unify"]):
        run(*words).failed_with("weak_secret", "published", "--fresh")
    assert not (site / ".secrets/comfyops.yaml").exists()
    assert run("import", "--fresh").code == run("apply").code == 0
    assert published not in (site / ".env").read_text() + (site / DOCKER / ".env").read_text()


def test_a_backup_is_restored_byte_for_byte(site: Path, run: Run) -> None:
    run("sync", "--unify")
    names = [".secrets/comfyops.yaml", ".env", ".secrets/qwen-api-user.token", f"{DOCKER}/.env"]
    before = {name: (site / name).read_bytes() for name in names}
    (site / "words").write_text(f"\ufeff{WORDS}\r\nwhat follows\r\n")  # as an editor of Windows writes it
    made = run("backup", "-o", "safe.bin", "--passphrase-file", "words", "--json").data
    assert made["encrypted"] is True and HASH.encode() not in (site / "safe.bin").read_bytes()
    assert stat.S_IMODE((site / "safe.bin").stat().st_mode) == 0o600
    run("backup", "-o", "safe.bin").failed_with("usage", "already", exit_code=2)
    run("rotate", "--overlap", "0")
    (site / ".env").unlink()
    now = {name: (site / name).read_bytes() for name in names if name != ".env"}
    run("restore", "safe.bin").failed_with("passphrase", "encrypted")
    run("restore", "safe.bin", COMFYOPS_BACKUP_PASSPHRASE="canary-wrong-passphrase").failed_with("passphrase", "wrong")
    assert now == {name: (site / name).read_bytes() for name in now} and not (site / ".env").exists()
    listed = run("restore", "safe.bin", "--dry-run", "--json", COMFYOPS_BACKUP_PASSPHRASE=WORDS).data
    assert set(listed["files"]) == set(names) and not (site / ".env").exists()
    assert run("restore", "safe.bin", COMFYOPS_BACKUP_PASSPHRASE=WORDS).code == 0
    assert before == {name: (site / name).read_bytes() for name in names} and run("check").code == 0


def test_what_git_has_or_would_take_is_said(site: Path, run: Run) -> None:
    run("sync", "--unify")
    subprocess.run(["git", "init", "-q"], cwd=site, check=True)
    assert findings(run("check", "--json")) == {("git_not_ignored", ".env"), ("git_not_ignored", f"{DOCKER}/.env")}
    (site / ".gitignore").write_text(".env\n")
    assert findings(run("check", "--json")) == set() and run("check").code == 0
    subprocess.run(["git", "add", "--force", ".env"], cwd=site, check=True)
    assert findings(run("check", "--json")) == {("git_tracked", ".env")} and run("check").code == 1


def findings(done: Done) -> set[tuple[str, str]]:
    return {(item["code"], item["subject"]) for item in done.envelope["data"]["findings"]}


def test_the_audit_finds_copies_that_nothing_keeps_in_step(site: Path, run: Run) -> None:
    run("import", ".secrets/qwen-api-user.token")
    run("apply")
    copies = {subject for code, subject in findings(run("sync", "--audit", "--json")) if code == "undeclared_copy"}
    assert copies == {".secrets/comfyui_auth_tokens.conf", ".env", f"{DOCKER}/.env"}
    run("sync", "--audit", "--unify").failed_with("usage", exit_code=2)


@pytest.mark.parametrize("text", [f"a: *{TOKEN}", f"{TOKEN}: 1\n{TOKEN}: 2"])
@pytest.mark.parametrize("word", ["plan", "apply", "check", "rotate", "backup", "sync", "import"])
def test_a_broken_document_is_refused_without_being_shown(tmp_path: Path, run: Run, word: str, text: str) -> None:
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".env").write_text(f"COMFYUI_API_TOKEN={HASH}\n")
    file = tmp_path / ".secrets/comfyops.yaml"
    file.write_text(text)
    run(word).failed_with("secrets")
    assert file.read_text() == text


def at_once(folder: Path, *words: str) -> list[int]:
    """The exit codes of four processes of one command."""
    quiet, environment = subprocess.DEVNULL, processes.environment(**home(folder))
    command = [processes.COMMAND, "secrets", *words]
    started = [subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet) for _ in range(4)]
    return [item.wait(processes.SECONDS) for item in started]


def test_a_new_site_may_be_made_by_several_at_once(tmp_path: Path, run: Run) -> None:
    assert at_once(tmp_path, "sync", "--unify") == [0] * 4
    assert run("check").code == 0 and yaml.safe_load((tmp_path / ".secrets/comfyops.yaml").read_text())["revision"] == 2


def test_two_rotations_at_once_do_not_mix(tmp_path: Path, run: Run) -> None:
    run("rotate", "worker", "--create", "--kind", "token")
    file = tmp_path / ".secrets/comfyops.yaml"
    document = yaml.safe_load(file.read_text())
    document["targets"] = [{"path": f"t{n}", "format": "token", "keys": {"token": "worker.value"}} for n in range(5)]
    file.write_text(yaml.safe_dump(document))
    assert at_once(tmp_path, "rotate", "worker", "--overlap", "0") == [0] * 4
    assert {(tmp_path / f"t{n}").read_text() for n in range(5)} == {held(tmp_path, "worker")["value"]}
    assert run("check").code == 0


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, run: Run) -> None:
    (tmp_path / ".secrets").write_text("a file")
    run("sync", "--unify").failed_with("storage")
    (tmp_path / ".secrets").unlink()
    (tmp_path / ".env").mkdir()
    run("sync", "--unify").failed_with("storage", "no file")


def test_a_folder_is_scanned_for_secrets_without_showing_them(tmp_path: Path) -> None:
    token = "hf_" + "aB3" * 12
    (tmp_path / "notes.txt").write_text(f"one\ntwo {token}\n")
    done = processes.comfyops("secrets", "scan", tmp_path)
    assert done.code == 1 and "notes.txt:2  Hugging Face token" in done.out.replace("\n", "")
    assert token not in done.out + done.err
    digest = done.out.split()[-1]
    again = processes.comfyops("secrets", "scan", tmp_path, "--allow", digest, "--json")
    assert again.code == 0 and again.data["suspects"] == []
