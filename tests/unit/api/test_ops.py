"""What operators see and do: backends asked, models checked, planned, fetched, steered, by hand, by ComfyUI-Manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from comfyops import app as parts
from comfyops import config
from comfyops.api.ops.backends import Backends, Target
from comfyops.errors import UnknownBackendError
from comfyops.gateway.settings import BackendAddress
from comfyops.models.catalog import Choice
from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.testing.model_hub import Faults
from tests.fake_comfyui import free_port
from tests.unit.api.operations import FILES, SIZE, operations, own_catalog
from tests.unit.gateway.house import House
from tests.unit.models.test_manager import Server, running
from tests.unit.models.test_rounds import samples
from tests.unit.support.test_webhooks import receiver

SLOW = Faults(throttle=50_000)
MINE = {"groups": ["mine"]}


async def until(home: House, token: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look at the downloads until something holds of them, by model."""
    async with asyncio.timeout(20):
        while True:
            _, data = await home.ask("GET", "/ops/models/downloads", token)
            found = {item["model"]: item for item in data["downloads"]}
            if holds(found):
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "path", ["/ops", "/ops/backends", "/ops/models/check", "/ops/models/events", "/ops/static/ops.js"]
)
async def test_only_operators_get_in(tmp_path: Path, path: str) -> None:
    async with operations(tmp_path) as (home, _):
        assert (await home.ask("GET", path))[0] == 401
        for role in ("viewer", "artist"):
            assert (await home.ask("GET", path, home.token(role, role)))[0] == 403


async def test_a_backend_is_asked_and_what_it_says_is_told(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        status, data = await home.ask("GET", "/ops/backends", home.token("boss", "operator"))
        (found,) = data["backends"]
        assert status == 200 and found["state"] == "ok" and found["url"] == home.backend
        assert found["version"] and found["devices"][0]["vram_total"] > 0 and found["running"] == 0
        assert found["last_seen"] == found["checked_at"] and found["latency_ms"] > 0


async def test_what_does_not_answer_is_said_and_when_it_last_did() -> None:
    now = [100.0]
    async with Simulator(SimulatorSettings(port=0)) as simulator:
        asked = Backends([Target(simulator.url), Target(f"http://127.0.0.1:{free_port()}")], clock=lambda: now[0])
        up, down = await asked.all()
        assert (up.state, down.state, down.last_seen, down.devices) == ("ok", "unreachable", None, None)
        assert down.why
        now[0] = 101.0
        assert (await asked.one(simulator.url)).checked_at == 100, "given again for a moment"
        assert (await asked.one(simulator.url, anew=True)).checked_at == 101
    now[0] = 200.0
    gone = await asked.one(simulator.url)
    assert (gone.state, gone.last_seen, gone.version) == ("unreachable", 101.0, None)
    with pytest.raises(UnknownBackendError):
        await asked.one("http://elsewhere")


@pytest.mark.parametrize(("status", "state"), [(401, "login_required"), (200, "not_comfyui")])
async def test_something_else_at_the_address_is_told(status: int, state: str) -> None:
    async def other(request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>")

    async with receiver(other) as url:
        (found,) = await Backends([Target(url.removesuffix("/hook"))]).all()
    assert found.state == state and found.hint is not None


async def test_models_are_checked_planned_and_fetched(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        token = home.token("boss", "operator")
        status, data = await home.ask("GET", "/ops/models/check?group=mine", token)
        assert status == 200 and not data["ok"] and len(data["models"]) == 3
        assert [item["state"] for item in data["models"]] == ["missing"] * 3
        _, plan = await home.ask("POST", "/ops/models/plan", token, json=MINE)
        assert len(plan["fetch"]) == 2 and plan["bytes"] > 2 * SIZE and not (tmp_path / "models/loras").exists()
        status, started = await home.ask("POST", "/ops/models/downloads", token, json=MINE)
        assert status == 202 and len(started["fetch"]) == 2
        done = await until(home, token, lambda found: all(item["status"] == "completed" for item in found.values()))
        assert set(done) == {"loras/a.safetensors", "loras/b.safetensors"}
        assert {"modelName", "totalBytes", "downloadedBytes", "speedMbps", "etaSeconds", "status"} <= set(
            done["loras/a.safetensors"]
        )
        _, data = await home.ask("POST", "/ops/models/verify", token, json={"groups": ["mine"]})
        assert data["ok"] and [item["state"] for item in data["models"]] == ["verified", "verified", "missing"]
    assert (tmp_path / "models/loras/a.safetensors").read_bytes() == FILES["org/repo/a.safetensors"]


async def test_a_download_is_paused_resumed_cancelled_and_tried_again(tmp_path: Path) -> None:
    async with operations(tmp_path, SLOW) as (home, hub):
        token, a, b = home.token("boss", "operator"), "loras/a.safetensors", "loras/b.safetensors"

        async def steer(verb: str, model: str | None) -> int:
            return (await home.ask("POST", f"/ops/models/downloads/{verb}", token, json={"model": model}))[0]

        await home.ask("POST", "/ops/models/downloads", token, json=MINE)
        await until(home, token, lambda found: all(item["status"] == "downloading" for item in found.values()))
        assert await steer("pause", a) == 200 and await steer("cancel", b) == 200
        await until(home, token, lambda found: (found[a]["status"], found[b]["status"]) == ("paused", "failed"))
        hub.faults = Faults()
        assert await steer("resume", a) == 200 and await steer("retry", b) == 200
        await until(home, token, lambda found: all(item["status"] == "completed" for item in found.values()))
        assert await steer("pause", "no/such.safetensors") == 404
        assert await steer("explode", None) == 422


async def test_progress_comes_as_events_and_a_reader_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with operations(tmp_path, Faults(throttle=300_000)) as (home, _):
        token = home.token("boss", "operator")
        headers = {"Authorization": f"Bearer {token}"}
        async with asyncio.timeout(20), home.session.get(f"{home.url}/ops/models/events", headers=headers) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            events = _events(answer)
            await home.ask("POST", "/ops/models/downloads", token, json=MINE)
            seen: dict[str, list[dict[str, Any]]] = {}
            async for event in events:
                seen.setdefault(event["model"], []).append(event)
                if len(seen) == 2 and all(items[-1]["status"] == "completed" for items in seen.values()):
                    break
        for items in seen.values():
            amounts = [item["downloadedBytes"] for item in items]
            assert amounts == sorted(amounts) and items[-1]["percent"] == 100
            assert {"downloading", "completed"} <= {item["status"] for item in items}


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


async def test_by_hand_shows_addresses_and_places_and_sees_files_come(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        token = home.token("boss", "operator")
        _, data = await home.ask("POST", "/ops/models/manual", token, json=MINE)
        first = data["steps"][0]
        assert len(data["steps"]) == 2 and first["urls"] and not first["arrived"]
        path = Path(first["path"])
        assert path == tmp_path / "models/loras/a.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(FILES["org/repo/a.safetensors"][:-5])
        _, data = await home.ask("POST", "/ops/models/manual", token, json=MINE)
        assert not data["steps"][0]["arrived"] and data["steps"][0]["present"] > 0
        path.write_bytes(FILES["org/repo/a.safetensors"])
        _, data = await home.ask("POST", "/ops/models/manual", token, json=MINE)
        assert (data["steps"][0]["arrived"], data["steps"][0]["state"]) == (True, "present")
        await home.ask("POST", "/ops/models/verify", token, json={"models": ["loras/a.safetensors"]})
        _, data = await home.ask("POST", "/ops/models/manual", token, json=MINE)
        assert data["steps"][0]["state"] == "verified"


async def test_without_a_manager_that_is_said(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        token = home.token("boss", "operator")
        asked = {**MINE, "server": home.backend}
        status, data = await home.ask("POST", "/ops/models/manager", token, json=asked)
        assert (status, data["error"]["code"]) == (409, "unsupported") and "manual" in data["error"]["hint"]
        status, data = await home.ask("POST", "/ops/models/manager", token, json={**MINE, "server": "http://evil"})
        assert (status, data["error"]["code"]) == (400, "usage")
        assert (await home.ask("GET", "/ops/models/manager", token))[1] == {"errand": None}


async def test_comfyui_manager_fetches_where_a_backend_has_it(tmp_path: Path) -> None:
    own_catalog(tmp_path / "home")
    machine = Server("/v2")
    with running(machine) as (url, _):
        settings = config.override(config.load(), home=tmp_path / "home", models_dir=tmp_path)
        shelf = parts.model_shelf(settings, [BackendAddress(url)])
        shelf.by_manager(Choice(models=("loras/a.safetensors",)), url)
        async with asyncio.timeout(20):
            while (found := shelf.errand()) is None or found.running:  # noqa: ASYNC110 (a thread's end)
                await asyncio.sleep(0.05)
        shelf.downloads.close()
    assert found.error is None and found.outcomes == ({"model": "loras/a.safetensors", "there": True, "why": ""},)


async def test_figures_of_backends_downloads_and_models_are_told(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        assert (await home.ask("GET", "/metrics"))[0] == 401
        status, text = await home.ask("GET", "/metrics", home.token("prometheus", "operator"))
        found = samples(text)
        url = ("backend", home.backend)
        assert status == 200 and found["comfyops_backend_up", (url,)] == 1
        assert found["comfyops_backend_runs", (url, ("state", "waiting"))] == 0
        assert found["comfyops_backend_vram_bytes", (url, ("device", "0"), ("kind", "total"))] > 0
        assert found["comfyops_downloads", (("status", "failed"),)] == 0
        assert found["comfyops_models", (("state", "missing"),)] > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/ops/models/check?group=none", None, 404, "unknown_model"),
        ("POST", "/ops/models/plan", {"models": ["nope"]}, 404, "unknown_model"),
        ("POST", "/ops/models/plan", {"models": "a"}, 422, "invalid_request"),
        ("POST", "/ops/models/plan", {"groups": ["x"] * 51}, 422, "invalid_request"),
        ("POST", "/ops/backends/check", {"url": "http://169.254.169.254"}, 404, "unknown_backend"),
        ("GET", "/ops/models/nothing", None, 404, "not_found"),
        ("GET", "/ops/models/plan", None, 405, "method_not_allowed"),
    ],
)
async def test_bad_requests_are_told(tmp_path: Path, method: str, path: str, body: Any, status: int, code: str) -> None:
    async with operations(tmp_path) as (home, _):
        found = await home.ask(method, path, home.token("boss", "operator"), **({"json": body} if body else {}))
        assert (found[0], found[1]["error"]["code"]) == (status, code)


async def test_a_source_that_refuses_is_told_for_the_file(tmp_path: Path) -> None:
    async with operations(tmp_path, Faults(always=("hub", 404))) as (home, _):
        token = home.token("boss", "operator")
        await home.ask("POST", "/ops/models/downloads", token, json=MINE)
        found = await until(
            home, token, lambda found: bool(found) and all(i["status"] == "failed" for i in found.values())
        )
        assert all(item["errorMessage"] for item in found.values())


async def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with operations(tmp_path) as (home, _):
        headers = {"Authorization": f"Bearer {home.token('boss', 'operator')}"}
        for path in ("/ops", "/ops/", "/ops/static/ops.js", "/ops/static/words.js", "/ops/static/ops.css"):
            async with home.session.get(home.url + path, headers=headers) as answer:
                text = await answer.text()
                assert answer.status == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert "http://" not in text and "innerHTML" not in text and "style=" not in text
        async with home.session.get(f"{home.url}/ops/static/../ops.py", headers=headers) as answer:
            assert answer.status == 404
        assert (await home.ask("POST", "/ops", home.token("other", "operator")))[0] == 405
