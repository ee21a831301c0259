"""The health of models, watched: what changes is told once, also over restarts, and reaches the webhook."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from comfyops.errors import StoppedError, UsageError
from comfyops.models import health, health_record, rounds
from comfyops.models.check import State
from comfyops.models.entry import ModelEntry
from comfyops.models.rounds import Health
from comfyops.support import schedules, webhooks
from comfyops.support.webhooks import Receiver
from tests.unit.models.shelf import entry, provision, put, wanted, weights
from tests.unit.support.test_webhooks import receiver

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
DATA = weights(3000)
MODEL = entry(data=DATA)
SECRET = webhooks.new_secret()


def watched(folder: Path, *models: ModelEntry, **fields: Any) -> Health:
    """A folder whose models are watched."""
    return Health(provision(folder / "models"), wanted(*models or (MODEL,)), folder / "health.json", **fields)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and words of what was logged since the last time."""
    found = [(item.levelname, item.getMessage()) for item in caplog.records if item.name == "comfyops.health"]
    caplog.clear()
    return found


def spoil(path: Path) -> None:
    """Flip a byte so that the file looks the same."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_each_change_is_told_once_also_over_restarts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched(tmp_path).round()
    assert said(caplog) == [("WARNING", "loras/a.safetensors is missing")]
    watched(tmp_path).round()
    assert said(caplog) == []
    path = put(tmp_path / "models", MODEL, DATA)
    watched(tmp_path).round()
    assert said(caplog) == [("WARNING", "loras/a.safetensors is right again")]
    spoil(path)
    assert watched(tmp_path).provision.check(wanted(MODEL))[0].state is State.VERIFIED  # nothing shows from outside
    watched(tmp_path).round()
    ((level, words),) = said(caplog)
    assert level == "ERROR" and words.startswith("loras/a.safetensors is corrupt: SHA-256 ")
    path.write_bytes(DATA)
    watched(tmp_path).round()
    watched(tmp_path).round()
    assert [words for _, words in said(caplog)] == ["loras/a.safetensors is right again"]


def test_a_look_without_reading_tells_of_a_file_that_was_written_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path / "models", MODEL, DATA)
    watched(tmp_path).round()
    path.touch()
    watched(tmp_path).look()
    assert [words.partition(":")[0] for _, words in said(caplog)] == ["loras/a.safetensors is changed"]
    watched(tmp_path).round()  # reads it, and finds the same bytes
    assert [words for _, words in said(caplog)] == ["loras/a.safetensors is right again"]


def test_other_bytes_of_a_model_without_a_promised_hash_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = entry(data=None)
    path = put(tmp_path / "models", unknown, DATA)
    watched(tmp_path, unknown).round()
    path.touch()
    watched(tmp_path, unknown).round()
    assert said(caplog) == []
    for change in (lambda: spoil(path), lambda: path.write_bytes(weights(3000, seed=2))):
        change()
        watched(tmp_path, unknown).round()
        ((_, words),) = said(caplog)
        assert words.startswith("loras/a.safetensors is changed: its bytes are others")
        watched(tmp_path, unknown).round()
        watched(tmp_path, unknown).look()
        assert said(caplog) == []


def test_optional_models_that_are_not_there_are_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    view = Health(provision(tmp_path), wanted(MODEL, required=False), tmp_path / "health.json")
    view.round()
    path = put(tmp_path, MODEL, b"x" * len(DATA))
    view.round()
    path.unlink()
    view.round()
    assert [words.partition(":")[0] for _, words in said(caplog)] == [
        "loras/a.safetensors is corrupt",
        "loras/a.safetensors is gone, and is not required",
    ]


def test_a_round_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    models = [entry(f"{name}.safetensors", weights(1000, number)) for number, name in enumerate("abc")]
    for number, item in enumerate(models):
        put(tmp_path / "models", item, weights(1000, number))
    stopped = threading.Event()
    view = watched(tmp_path, *models, stop=stopped)
    read = _counted(view, lambda count: stopped.set() if count == 2 else None)
    with pytest.raises(StoppedError):
        view.round()
    assert read == ["a.safetensors", "b.safetensors"]
    assert view.load().began is not None and set(view.load().models) == {"loras/a.safetensors"}
    again = watched(tmp_path, *models)
    read = _counted(again, lambda count: None)
    again.round()
    assert read == ["b.safetensors", "c.safetensors"]
    assert again.load().began is None and again.load().finished is not None


def _counted(view: Health, then: Callable[[int], None]) -> list[str]:
    """The names of the files that a round reads."""
    read: list[str] = []
    hashed = view._hashed

    def noted(path: Path) -> Any:
        read.append(path.name)
        then(len(read))
        return hashed(path)

    object.__setattr__(view, "_hashed", noted)
    return read


def test_reading_is_no_faster_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "models", MODEL, DATA)
    waits: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: bool(waits.append(seconds)))
    watched(tmp_path, rate=len(DATA), stop=stop).round()
    assert 0.5 < sum(waits) <= 1.1


def test_a_damaged_record_is_begun_anew(tmp_path: Path) -> None:
    view = watched(tmp_path)
    for text in ("", "[]", '{"schema": "other"}', '{"schema": "model-health/1", "models": {"a": {"x": 1}}}'):
        view.record.write_text(text)
        assert view.load().models == {}
        view.round()
        assert view.load().models["loras/a.safetensors"].trouble == "missing"


async def test_the_webhook_is_told_and_asked_again_until_it_has_taken_it(tmp_path: Path) -> None:
    answers, got = iter([500, 429, 204]), []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.headers["webhook-id"], Webhook(SECRET).verify(await request.read(), dict(request.headers))))
        return web.Response(status=next(answers), headers={"Retry-After": "7"})

    now = [1000.0]
    async with receiver(answer) as url:
        options = {"receiver": Receiver(url, SECRET, allow_private=True), "clock": lambda: now[0]}
        watched(tmp_path, **options).look()
        due = await rounds.deliver(watched(tmp_path, **options))
        assert due is not None and 1004 < due < 1010 and len(got) == 1
        assert await rounds.deliver(watched(tmp_path, **options)) == due and len(got) == 1  # it is not yet time
        for _ in range(2):
            assert due is not None
            now[0] = due
            due = await rounds.deliver(watched(tmp_path, **options))  # each as after a restart
    assert due is None and watched(tmp_path).load().waiting == ()
    assert len({name for name, _ in got}) == 1 and len(got) == 3
    data = got[0][1]
    assert data["type"] == "model.missing" and data["data"]["model"] == "loras/a.safetensors"


async def test_a_receiver_that_wants_no_more_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def gone(request: web.Request) -> web.Response:
        return web.Response(status=410)

    async with receiver(gone) as url:
        view = watched(tmp_path, receiver=Receiver(url, SECRET, allow_private=True))
        view.look()
        assert await rounds.deliver(view) is None
    assert "given up" in said(caplog)[-1][1]


async def test_rounds_begin_when_they_are_due_and_end_at_once_when_cancelled(tmp_path: Path) -> None:
    put(tmp_path / "models", MODEL, DATA)
    view = watched(tmp_path, rate=100)  # half a minute a file
    task = asyncio.create_task(rounds.watch(view, schedules.parse("6h")))
    async with asyncio.timeout(10):
        while view.load().began is None:  # noqa: ASYNC110 (a file has no event)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert view.load().finished is None


def test_when_the_next_round_is_due() -> None:
    known, daily = health_record.HealthRecord("/"), schedules.parse("daily")
    assert rounds.next_round(known, daily) == 0
    done = datetime(2026, 11, 20, 12).timestamp()
    known = replace(known, finished=done)
    assert rounds.next_round(known, daily) == datetime(2026, 11, 21, 3).timestamp()
    assert rounds.next_round(replace(known, began=done + 1), daily) == 0


_PLAIN = {"\\": "\\", '"': '"', "n": "\n"}
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{((?:\w+=\"(?:[^\"\\\n]|\\[\\\"n])*\",?)*)\})? (\S+)")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of a text in Prometheus' format, read as its own parsers do; fails on what is none."""
    found, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "told twice"
            types[name] = kind
            continue
        if line.startswith("# HELP "):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
        values = tuple((key, re.sub(r"\\(.)", lambda item: _PLAIN[item[1]], value)) for key, value in labels)
        assert match[1] in types
        found[match[1], values] = float(match[3])
    return found


def test_figures_are_escaped_so_that_any_name_comes_back(tmp_path: Path) -> None:
    odd = 'a"b\\c\nd {x="1"} é.safetensors'
    finding = replace(provision(tmp_path).check(wanted(MODEL))[0], entry=replace(MODEL, file=odd))
    found = samples(health.figures([finding], 10.0, 5.0))
    assert found["comfyops_model_problem", (("model", finding.entry.id), ("state", "missing"))] == 1
    assert found["comfyops_models", (("state", "missing"),)] == 1
    assert found["comfyops_models_verified_seconds", ()] == 5


def test_figures_are_what_prometheus_own_parser_reads(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families as parse

    text = health.figures(provision(tmp_path).check(wanted(MODEL)), 10.0, 5.0)
    read = {(item.name, tuple(item.labels.items())): item.value for one in parse(text) for item in one.samples}
    assert read == samples(text)


_ALERT = {"alert", "expr", "for", "labels", "annotations", "keep_firing_for"}


def test_the_example_alerts_name_figures_and_labels_that_there_are(tmp_path: Path) -> None:
    text = health.figures(provision(tmp_path).check(wanted(MODEL)), 10.0, 5.0)
    names = {name for name, _ in samples(text)}
    states = {state.value for state in State}
    rules = yaml.safe_load((EXAMPLES / "prometheus-models.yml").read_text())
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len(found) >= 4 and len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule.keys() <= _ALERT and {"alert", "expr"} <= rule.keys()
        assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
        assert re.fullmatch(r"\d+[smhdw]", rule.get("for", "1m"))
        assert rule["expr"].count("(") == rule["expr"].count(")")
        used = set(re.findall(r"comfyops_\w+", rule["expr"]))
        assert used and used <= names
        for values in re.findall(r'state=~?"([^"]*)"', rule["expr"]):
            assert set(values.split("|")) <= states
        for label in re.findall(r"\$labels\.(\w+)", yaml.safe_dump(rule["annotations"])):
            assert label in ("model", "state", "instance", "job")


def test_a_webhook_without_a_secret_is_refused() -> None:
    with pytest.raises(UsageError):
        Receiver("https://host.example/", "")
    assert json.loads(webhooks.Message.new("a", {"b": 1}).body)["data"] == {"b": 1}
