"""A gateway that is killed while jobs wait and run: all of them end well, once, and its history is there again."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.acceptance.processes import simulated, stopped, wait_until
from tests.acceptance.test_serve import gateway, token


def ask(url: str, secret: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
        return json.loads(answer.read())


def test_jobs_and_history_outlive_a_gateway_that_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with simulated("--seconds-per-node", "0.3", "--home", tmp_path / "server") as server:
        with gateway(home, "--backend", server.url) as (data, process):
            secret = token(home, "ann")
            first = _submit(data["url"], secret)
            wait_until(lambda: first in ask(f"{data['url']}/history", secret))
            before = ask(f"{data['url']}/history/{first}", secret)
            jobs = [_submit(data["url"], secret) for _ in range(3)]
            wait_until(lambda: ask(f"{data['url']}/queue", secret)["queue_running"])
            process.send_signal(signal.SIGKILL)
            process.wait()
        with gateway(home, "--backend", server.url) as (data, process):
            url = data["url"]
            assert ask(f"{url}/history/{first}", secret) == before
            known = [item["id"] for item in ask(f"{url}/api/jobs?sort_order=asc", secret)["jobs"]]
            assert known == [first, *jobs]
            wait_until(lambda: set(ask(f"{url}/history", secret)) == {first, *jobs})
            history = ask(f"{url}/history", secret)
            assert all(entry["status"]["status_str"] == "success" for entry in history.values())
            for entry in history.values():
                (place,) = entry["outputs"]["2"]["images"]
                assert _picture(url, secret, place).startswith(b"\x89PNG")
            stopped(process, signal.SIGTERM)
        made = list((tmp_path / "server" / "output").rglob("*.png"))
        assert len(made) == 4  # none ran twice


def _submit(url: str, secret: str) -> str:
    return str(ask(f"{url}/prompt", secret, {"prompt": api_format.dump(graphs.picture())})["prompt_id"])


def _picture(url: str, secret: str, place: dict[str, str]) -> bytes:
    query = "&".join(f"{name}={value}" for name, value in place.items())
    request = urllib.request.Request(f"{url}/view?{query}", headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())
