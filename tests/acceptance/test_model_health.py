"""`comfyops models verify --schedule` and `models health` as a person runs them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from comfyops.support import webhooks
from tests.acceptance.processes import comfyops, started, stopped, wait_until
from tests.fake_comfyui import installation
from tests.unit.models.shelf import sha, weights

DATA = weights(2000)


def catalog(folder: Path) -> Path:
    """A catalog of one model that is required."""
    model = {
        "file": "a.safetensors",
        "folder": "loras",
        "sha256": sha(DATA),
        "size": len(DATA),
        "required_in": ["mine"],
    }
    model["url"] = "https://huggingface.co/org/repo/resolve/main/a.safetensors"
    file = folder / "mine.yaml"
    file.write_text(json.dumps({"groups": {"mine": {"title": "Mine"}}, "models": [model]}))
    return file


def options(folder: Path) -> list[str]:
    (folder / "models").mkdir(exist_ok=True)
    return ["--models-dir", str(folder / "models"), "--catalog", str(catalog(folder)), "-g", "mine"]


def test_rounds_go_on_until_they_are_stopped_and_what_was_wrong_is_known_afterwards(tmp_path: Path) -> None:
    figures, log = tmp_path / "x.prom", tmp_path / "x.log"
    variables = {"COMFYOPS_HOME": str(tmp_path / "home")}
    wanted = ["models", "verify", *options(tmp_path), "--schedule", "daily", "--prometheus", str(figures)]
    with started(*wanted, "--log-file", log, "--log-format", "json", variables=variables) as process:
        wait_until(figures.exists)
        done = stopped(process, signal.SIGTERM)
    assert done.code == 0 and "Traceback" not in done.err, done
    assert 'comfyops_model_problem{model="loras/a.safetensors",state="missing"} 1' in figures.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["change"] for line in lines if "change" in line] == ["missing"]

    (tmp_path / "models" / "loras").mkdir()
    (tmp_path / "models" / "loras" / "a.safetensors").write_bytes(DATA)
    check = ("models", "health", *options(tmp_path))
    done = comfyops(*check, "--deep", "--prometheus", figures, variables=variables)
    assert done.code == 0 and "a.safetensors is right again" in done.err, done
    done = comfyops(*check, variables=variables)
    assert done.code == 0 and "right again" not in done.err, done


def test_a_unit_and_a_line_for_cron_are_printed(tmp_path: Path) -> None:
    wanted = ("models", "verify", *options(tmp_path), "--schedule", "weekly")
    unit = comfyops(*wanted, "--print-systemd")
    assert unit.code == 0 and "--schedule=weekly" in unit.out and "[Install]" in unit.out
    line = comfyops(*wanted, "--print-cron")
    assert line.code == 0 and line.out.startswith("0 3 * * 1  ") and "models health --deep" in line.out
    assert all(f"--catalog={tmp_path}/mine.yaml" in text and "--group=mine" in text for text in (unit.out, line.out))
    assert " a --group=mine" in comfyops(*wanted, "a", "--print-cron").out
    assert comfyops(*wanted, "--print-cron", "--json").data["text"] == line.out.rstrip("\n")


def test_the_unit_looks_where_comfyui_does(tmp_path: Path) -> None:
    comfyui = installation(tmp_path / "Comfy UI")
    unit = comfyops("models", "verify", "--comfyui-path", comfyui, "--schedule", "daily", "--print-systemd")
    assert f'"--comfyui-path={comfyui}"' in unit.out and "--models-dir" not in unit.out


def test_what_makes_no_sense_is_told(tmp_path: Path) -> None:
    check = ("models", "verify", *options(tmp_path))
    comfyops(*check, "--schedule", "sometimes").failed_with("usage", "sometimes", exit_code=2)
    comfyops(*check, "--print-cron").failed_with("usage", "--schedule", exit_code=2)
    comfyops(*check, "--schedule", "7h", "--print-cron").failed_with("usage", "7h", exit_code=2)
    for url, secret in (("https://127.0.0.1/x", webhooks.new_secret()), ("https://a.example/x", "no")):
        variables = {"COMFYOPS_ALERT_WEBHOOK": url, "COMFYOPS_ALERT_WEBHOOK_SECRET": secret}
        done = comfyops("models", "health", *options(tmp_path), variables=variables)
        done.failed_with("usage", exit_code=2)
        assert secret == "no" or secret not in done.err
