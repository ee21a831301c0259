"""`comfyops serve` with the operators' API, as programs use it."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

from tests.acceptance.processes import Server, stopped
from tests.acceptance.test_serve import gateway, status, token


def ask(url: str, secret: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
        return json.load(answer)


def test_operators_see_backends_and_models(tmp_path: Path, server: Server) -> None:
    (tmp_path / "models").mkdir()
    log = tmp_path / "serve.log"
    options = ("--backend", server.url, "--models-dir", tmp_path / "models", "--log-file", log, "--log-format", "json")
    with gateway(tmp_path / "home", *options) as (data, process):
        secret = token(tmp_path / "home", "boss", "operator")
        assert status(data["url"] + "/ops", token(tmp_path / "home", "ann")) == 403
        assert status(data["url"] + "/ops", secret) == 200
        (backend,) = ask(data["url"] + "/ops/backends", secret)["backends"]
        assert (backend["url"], backend["state"] in ("ok", "busy")) == (server.url, True)
        found = ask(data["url"] + "/ops/models/check", secret)
        assert not found["ok"] and found["root"] == str(tmp_path / "models") and len(found["models"]) == 12
        done = stopped(process, signal.SIGTERM)
    assert done.code == 0 and "Traceback" not in done.err
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("gateway ready" in line["message"] for line in lines) and secret not in log.read_text()


def test_without_models_on_this_machine_that_is_said(tmp_path: Path, server: Server) -> None:
    with gateway(tmp_path, "--backend", server.url, variables={"HOME": str(tmp_path)}, folder=tmp_path) as (data, _):
        secret = token(tmp_path, "boss", "operator")
        assert ask(data["url"] + "/ops/backends", secret)["backends"]
        assert status(data["url"] + "/ops/models/check", secret) == 400
