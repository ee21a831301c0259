"""No request that breaks a server gets through the gateway, whether jobs pass straight through or wait in a queue."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyops.simulator import SimulatorSettings
from tests.poison import GOOD, HARMFUL, LONELY, POISON, saved
from tests.unit.gateway.house import House, durable_house, finished, house

ID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


ODD: dict[str, object] = {
    "an id that is a number": {"prompt": GOOD, "prompt_id": 42},
    "an id in capitals": {"prompt": GOOD, "prompt_id": ID.upper()},
    "an id with a path": {"prompt": GOOD, "prompt_id": "../42"},
    "too many nodes": {"prompt": {str(number): LONELY for number in range(5001)}},
}
BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"prompt=1",
    "no UTF-8": b'{"prompt": "\xff\xfe"}',
    "NaN": b'{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {"width": NaN}}}}',
    "Infinity": b'{"prompt": {}, "number": Infinity}',
    "a number beyond all bounds": json.dumps({"prompt": saved(x=1)}).replace('"x": 1', '"x": 1e400').encode(),
    "half a character as it is": json.dumps({"prompt": saved(x="?")}).encode().replace(b"?", b"\xed\xa0\xbd"),
    "half a character of two bytes": json.dumps({"prompt": saved(x="\ud83d")}, ensure_ascii=False).encode(
        "utf-16-le", "surrogatepass"
    ),
    "deep JSON": b'{"prompt": ' + deep(100_000).encode() + b"}",
    "deep extra data": b'{"prompt": {}, "extra_data": {"x": ' + deep(300).encode() + b"}}",
    "a huge number": b'{"prompt": ' + b"9" * 10_000 + b"}",
}


MENDED = (
    "a client in the extra data that is an object",
    "a client in the extra data that is a list",
    "a picture's info that is null",
    "a picture's workflow that is null",
)
"""What the gateway takes: it leaves out what would do harm."""


def refused() -> dict[str, bytes]:
    """Everything that must not get through."""
    poison = {name: poison.body for name, poison in POISON.items() if name not in MENDED}
    return {name: json.dumps(body).encode() for name, body in {**poison, **ODD}.items()} | BROKEN


@pytest.fixture(params=["pass-through", "durable"])
def mode(request: pytest.FixtureRequest) -> Any:
    """How a gateway takes jobs: makes one before a simulator."""
    return house if request.param == "pass-through" else durable_house


@pytest.fixture(params=["0.33.0", "0.8.0"])
async def weak(mode: Any, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A gateway before a server as weak as the real one."""
    simulated = SimulatorSettings(port=0, version=request.param, faithful_poison=True)
    async with mode(tmp_path, simulated=simulated) as home:
        yield home


async def test_no_poison_reaches_a_server_that_would_break_on_it(weak: House) -> None:
    tokens = weak.token("a"), weak.token("op", "administrator")
    for name, body in refused().items():
        for path, token in zip(("/prompt", "/api/prompt"), tokens, strict=True):
            status, answer = await weak.ask("POST", path, token, data=body)
            assert 400 <= status < 500, (name, answer)
            assert answer["error"]["message"] and "Traceback" not in str(answer), name
    await _is_well(weak, tokens[0], {"prompt": GOOD})


@pytest.mark.parametrize("name", MENDED)
async def test_what_would_do_harm_beside_a_good_prompt_is_left_out(weak: House, name: str) -> None:
    token = weak.token("a")
    assert POISON[name].modern in HARMFUL and POISON[name].older in HARMFUL
    for body in (POISON[name].body, {"prompt": GOOD}):
        await _is_well(weak, token, body)


async def _is_well(home: House, token: str, body: Any) -> None:
    """A job runs to its end, and the server behind can still tell of it."""
    status, answer = await home.ask("POST", "/prompt", token, json=body)
    assert status == 200
    await finished(home, token, answer["prompt_id"])
    async with home.session.get(f"{home.backend}/api/jobs") as listed:
        assert listed.status == 200
