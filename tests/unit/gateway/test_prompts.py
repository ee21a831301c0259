"""What is let through to a server as a job, and what never is."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyops.gateway import prompts
from comfyops.gateway.refusal import RefusedError
from comfyops.gateway.settings import Classes, Limits
from comfyops.simulator import SimulatorSettings
from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.unit.gateway.house import House, finished, house

GOOD: dict[str, Any] = api_format.dump(graphs.picture())
LONELY = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}}
ID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def chain(length: int) -> dict[str, Any]:
    """A chain of nodes."""
    nodes: dict[str, Any] = {"0": LONELY}
    for number in range(1, length):
        inputs = {"image": [str(number - 1), 0]}
        nodes[str(number)] = {"class_type": "ImageInvert", "inputs": inputs}
    last = {"images": [str(length - 1), 0], "filename_prefix": "x"}
    return {**nodes, "end": {"class_type": "SaveImage", "inputs": last}}


def loose(length: int, slot: object = 0, ring: bool = False) -> dict[str, Any]:
    """A chain of nodes that no output needs; `ring` closes it."""
    nodes: dict[str, Any] = {"c0": LONELY}
    for number in range(1, length):
        nodes[f"c{number}"] = {"class_type": "ImageInvert", "inputs": {"image": [f"c{number - 1}", slot]}}
    if ring:
        nodes["c0"] = {"class_type": "ImageInvert", "inputs": {"image": [f"c{length - 1}", slot]}}
    return nodes


def saved(*, more: dict[str, Any] | None = None, **inputs: object) -> dict[str, Any]:
    """A picture that is saved, with further inputs of the last node, which its class does not have."""
    last = {"images": ["1", 0], "filename_prefix": "x", **inputs}
    return {"1": LONELY, "2": {"class_type": "SaveImage", "inputs": last}, **(more or {})}


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


POISON: dict[str, object] = {
    "a node without inputs": {"prompt": {**GOOD, "9": {"class_type": "EmptyImage"}}},
    "a node whose inputs are null": {"prompt": {**GOOD, "9": {"class_type": "EmptyImage", "inputs": None}}},
    "a node whose inputs are a list": {"prompt": {**GOOD, "9": {"class_type": "EmptyImage", "inputs": []}}},
    "a node that is text": {"prompt": {**GOOD, "9": "EmptyImage"}},
    "a node that is null": {"prompt": {**GOOD, "9": None}},
    "a class that is a list": {"prompt": {**GOOD, "9": {"class_type": ["EmptyImage"], "inputs": {}}}},
    "meta that is null": {"prompt": {**GOOD, "9": {**LONELY, "_meta": None}}},
    "an unknown class": {"prompt": {**GOOD, "9": {"class_type": "NoSuchNode", "inputs": {}}}},
    "no class": {"prompt": {"1": {"inputs": {}}}},
    "a long chain": {"prompt": chain(950)},
    "a chain that servers die of": {"prompt": chain(982)},
    "a cycle": {
        "prompt": {
            "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
        }
    },
    "a cycle that no output needs": {"prompt": {**GOOD, **loose(2, ring=True)}},
    "a cycle by an input that there is not": {"prompt": saved(other=["2", 0])},
    "a chain behind a cycle": {"prompt": {**GOOD, **loose(2, ring=True), **loose(990, ring=True)}},
    "a long chain that no output needs": {"prompt": {**GOOD, **loose(990)}},
    "a long chain of odd numbers of outputs": {"prompt": {**GOOD, **loose(990, 0.0)}},
    "a long chain of outputs before the first": {"prompt": {**GOOD, **loose(990, -1)}},
    "a long chain of outputs that are true": {"prompt": {**GOOD, **loose(990, True)}},
    "a link to nowhere of an input that there is not": {"prompt": saved(other=["99", 0])},
    "a link to nowhere further up": {
        "prompt": saved(other=["3", 0], more={"3": {**LONELY, "inputs": {"x": ["9", 0]}}})
    },
    "a link to an output that there is not": {"prompt": saved(other=["1", 7])},
    "a link to half an output": {"prompt": saved(other=["1", 0.5])},
    "a link to an output before the first": {"prompt": saved(other=["1", -7])},
    "a client that is an object": {"prompt": GOOD, "client_id": {}},
    "a client that is a list": {"prompt": GOOD, "client_id": ["x"]},
    "an id that is a number": {"prompt": GOOD, "prompt_id": 42},
    "an id in capitals": {"prompt": GOOD, "prompt_id": ID.upper()},
    "an id with a path": {"prompt": GOOD, "prompt_id": "../42"},
    "extra data that is text": {"prompt": GOOD, "extra_data": "x"},
    "a picture's info that is a list": {"prompt": GOOD, "extra_data": {"extra_pnginfo": [1]}},
    "a picture's workflow that is text": {"prompt": GOOD, "extra_data": {"extra_pnginfo": {"workflow": "x"}}},
    "a number that is none": {"prompt": GOOD, "number": "first"},
    "a number beyond reason": {"prompt": GOOD, "number": 1e300},
    "targets that are no list": {"prompt": GOOD, "partial_execution_targets": "1"},
    "an empty prompt": {"prompt": {}},
    "a prompt that is a list": {"prompt": []},
    "no prompt": {},
    "a list": [],
    "a prompt without an output": {"prompt": {"1": LONELY}},
    "a link to nowhere": {"prompt": {"1": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}}},
    "a slot as text": {"prompt": {"1": LONELY, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", "0"]}}}},
    "too many nodes": {"prompt": {str(number): LONELY for number in range(5001)}},
}
BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"prompt=1",
    "no UTF-8": b'{"prompt": "\xff\xfe"}',
    "NaN": b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {"width": NaN}}}}',
    "Infinity": b'{"prompt": {}, "number": Infinity}',
    "a number beyond all bounds": json.dumps({"prompt": saved(x=1)}).replace('"x": 1', '"x": 1e400').encode(),
    "half a character": json.dumps({"prompt": saved(x="\ud83d")}).encode(),
    "half a character in a name": json.dumps({"prompt": {**GOOD, "\udfff": LONELY}}).encode(),
    "half a character beside the prompt": json.dumps({"prompt": GOOD, "extra_data": {"x": "\ud83d"}}).encode(),
    "half a character as it is": json.dumps({"prompt": saved(x="?")}).encode().replace(b"?", b"\xed\xa0\xbd"),
    "half a character of two bytes": json.dumps({"prompt": saved(x="\ud83d")}, ensure_ascii=False).encode(
        "utf-16-le", "surrogatepass"
    ),
    "deep JSON": b'{"prompt": ' + deep(100_000).encode() + b"}",
    "deep extra data": b'{"prompt": {}, "extra_data": {"x": ' + deep(300).encode() + b"}}",
    "a huge number": b'{"prompt": ' + b"9" * 10_000 + b"}",
}


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def test_no_poison_reaches_a_server_that_would_break_on_it(fresh: House) -> None:
    tokens = fresh.token("a"), fresh.token("op", "administrator")
    bodies = [json.dumps(body).encode() for body in POISON.values()] + list(BROKEN.values())
    for name, body in zip([*POISON, *BROKEN], bodies, strict=True):
        for path, token in zip(("/prompt", "/api/prompt"), tokens, strict=True):
            status, answer = await fresh.ask("POST", path, token, data=body)
            assert 400 <= status < 500, (name, answer)
            assert answer["error"]["message"] and "Traceback" not in str(answer), name
    status, answer = await fresh.ask("POST", "/prompt", tokens[0], json={"prompt": GOOD})
    assert status == 200
    await finished(fresh, tokens[0], answer["prompt_id"])


@pytest.mark.parametrize("info", [None, {}, {"workflow": None}])
def test_a_workflow_that_is_null_is_left_out_of_what_is_said(info: object) -> None:
    assert prompts.extra_data({"extra_pnginfo": info, "x": 1}) == {"extra_pnginfo": {}, "x": 1}
    assert prompts.extra_data({"x": 1}) == {"x": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32"])
def test_whole_characters_are_read_however_they_are_written(encoding: str) -> None:
    body = json.dumps({"x": "\U0001f5fc \u00fc", "y": 1e300}, ensure_ascii=encoding == "utf-8").encode(encoding)
    assert prompts.read_json(body, Limits()) == {"x": "\U0001f5fc \u00fc", "y": 1e300}


async def test_the_same_id_is_taken_once(fresh: House) -> None:
    token, other = fresh.token("a"), fresh.token("b")
    job = str(uuid.uuid4())
    body = {"prompt": GOOD, "prompt_id": job, "number": 3}
    assert (await fresh.ask("POST", "/prompt", token, json=body))[1]["prompt_id"] == job
    for who in (token, other):
        assert (await fresh.ask("POST", "/prompt", who, json=body))[0] == 409
    await finished(fresh, token, job)


async def test_bodies_are_bounded_and_not_compressed(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(prompt_bytes=1000)) as home:
        token = home.token("a")
        large = json.dumps({"prompt": GOOD, "extra_data": {"x": "y" * 1000}}).encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield large

        assert (await home.ask("POST", "/prompt", token, data=large))[0] == 413
        assert (await home.ask("POST", "/prompt", token, data=pieces()))[0] == 413
        headers = {"Content-Encoding": "gzip"}
        assert (await home.ask("POST", "/prompt", token, data=b"x", headers=headers))[0] == 415


async def test_a_role_uses_only_the_nodes_it_may(tmp_path: Path) -> None:
    rules = {"artist": Classes(deny=frozenset({"EmptyImage"})), "operator": Classes(allow=frozenset({"SaveImage"}))}
    async with house(tmp_path, classes=rules) as home:
        for role, status in (("artist", 403), ("operator", 403), ("administrator", 200)):
            found, answer = await home.ask("POST", "/prompt", home.token(role, role), json={"prompt": GOOD})
            assert found == status, answer


async def test_viewers_submit_nothing(fresh: House) -> None:
    assert (await fresh.ask("POST", "/prompt", fresh.token("v", "viewer"), json={"prompt": GOOD}))[0] == 403


async def test_one_owner_has_only_so_many_jobs_at_once(tmp_path: Path) -> None:
    slow = SimulatorSettings(port=0, seconds_per_node=60)
    async with house(tmp_path, simulated=slow, limits=Limits(jobs=2)) as home:
        token = home.token("a")
        for statuses in ([200, 200, 429, 429, 429], [429] * 5):
            sent = (home.ask("POST", "/prompt", token, json={"prompt": GOOD}) for _ in range(5))
            assert sorted(status for status, _ in await asyncio.gather(*sent)) == statuses
            await home.gateway.servers[0].look()
        await home.ask("POST", "/queue", token, json={"clear": True})
        await home.gateway.servers[0].look()
        assert (await home.ask("POST", "/prompt", token, json={"prompt": GOOD}))[0] == 200
        assert (await home.ask("POST", "/prompt", home.token("b"), json={"prompt": GOOD}))[0] == 200


async def test_one_owner_asks_only_so_often(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(requests_per_second=0.1, requests_burst=3)) as home:
        token = home.token("a")
        assert [(await home.ask("GET", "/queue", token))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert (await home.ask("GET", "/queue", home.token("b")))[0] == 200


def test_what_is_passed_on_is_written_anew() -> None:
    body = {
        "prompt": GOOD,
        "client_id": "mine",
        "front": True,
        "surprise": {},
        "extra_data": {"client_id": "x", "y": 1},
    }
    request = prompts.read(json.dumps(body).encode(), Limits())
    sent = json.loads(prompts.written(request, "name", ahead=False))
    assert set(sent) == {"prompt", "client_id", "prompt_id", "extra_data"}
    assert sent["client_id"] == "name" and sent["extra_data"] == {"y": 1} and prompts.is_job_id(sent["prompt_id"])
    assert all(node["_meta"] == {} for node in sent["prompt"].values())
    assert json.loads(prompts.written(request, "name", ahead=True))["front"] is True


@pytest.mark.parametrize("levels", [10, 64, 65, 900])
def test_depth_is_counted_only_as_far_as_needed(levels: int) -> None:
    text = deep(levels).encode()
    if levels <= 64:
        prompts.read_json(text, Limits())
        return
    with pytest.raises(RefusedError) as refused:
        prompts.read_json(text, Limits())
    assert refused.value.status == 400


def test_a_job_without_an_id_gets_one_by_its_time_that_no_other_has() -> None:
    ids = [prompts.new_job_id() for _ in range(5000)]
    assert len(set(ids)) == len(ids) and all(prompts.is_job_id(job) for job in ids)
    assert {(uuid.UUID(job).version, uuid.UUID(job).variant) for job in ids} == {(7, uuid.RFC_4122)}
    assert all(abs(int(job.replace("-", "")[:12], 16) / 1000 - time.time()) < 3600 for job in ids)
