"""Targets: each format keeps what is not its own; plans name keys and show no value."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyops.auth.secrets import plan, rotation
from comfyops.auth.secrets.formats import FORMATS
from comfyops.auth.secrets.model import Actual, Target
from comfyops.errors import SecretsError
from tests.unit.auth.secrets.values import HASH, NOW, PASSWORD, TOKEN, document

TARGETS = (
    Target(".env", "env", {"COMFYUI_API_TOKEN": "comfyui.hash", "OLD": "worker.previous.value"}),
    Target("token", "token", {"token": "worker.value"}),
    Target("PASSWORD", "comfyui-login-password", {"hash": "comfyui.hash", "username": "comfyui.username"}),
    Target("x.json", "json", {"a.b": "comfyui.password", "c": "worker.value"}),
)
HELD = {
    ".env": b"# mine\nCOMFYUI_API_TOKEN=COMFYUI_API_TOKEN=x # again\nZ=1\n",
    "token": b"old\n",
    "PASSWORD": b"x\nbob\nkept",
    "x.json": b'{\n    "z": 1,\n    "a": {"k": true}\n}\n',
}


def actual(held: dict[str, bytes]) -> dict[str, Actual]:
    return {target.path: Actual(held.get(target.path), 0o600) for target in TARGETS}


@pytest.mark.parametrize("held", [HELD, {}], ids=["changed", "made"])
def test_what_a_plan_writes_needs_no_further_change(held: dict[str, bytes]) -> None:
    made = plan.make(document(*TARGETS), actual(held), NOW)
    assert made.drift and all(item.changes and item.problem is None for item in made.targets)
    done = {item.target.path: item.content or b"" for item in made.targets}
    again = plan.make(document(*TARGETS), actual(done), NOW)
    assert not again.drift and [item.content for item in again.targets] == list(done.values())


def test_every_format_keeps_what_is_not_its_own() -> None:
    made = plan.make(document(*TARGETS), actual(HELD), NOW)
    env, token, password, value = (item.content for item in made.targets)
    assert env == f"# mine\nCOMFYUI_API_TOKEN='{HASH}' # again\nZ=1\n".encode()
    assert token == f"{TOKEN}\n".encode()
    assert password == f"{HASH}\nada\nkept".encode()
    assert json.loads(value or b"") == {"z": 1, "a": {"k": True, "b": PASSWORD}, "c": TOKEN}
    assert value and value.startswith(b'{\n    "z": 1,') and value.endswith(b"}\n")


def test_a_plan_says_keys_and_fingerprints_and_never_a_value() -> None:
    made = plan.make(document(*TARGETS), actual(HELD), NOW)
    changes = [(change.action, change.key) for change in made.targets[0].changes]
    assert changes == [("change", "COMFYUI_API_TOKEN")]
    shown = repr(made) + repr(document(*TARGETS)) + str([item.changes for item in made.targets])
    assert not any(value in shown for value in (HASH, PASSWORD, TOKEN, "f" * 64))
    assert plan.fingerprint(HASH, "k") != plan.fingerprint(HASH, "l") != plan.fingerprint(TOKEN, "l")


def test_permissions_that_differ_are_a_change_and_the_bytes_stay() -> None:
    target = Target("token", "token", {"token": "worker.value"}, 0o640)
    (item,) = plan.make(document(target), {"token": Actual(TOKEN.encode(), 0o644)}, NOW).targets
    assert [(change.action, change.before, change.after) for change in item.changes] == [("mode", "0644", "0640")]
    assert item.content == TOKEN.encode()


def test_the_old_value_is_there_within_the_window_and_removed_after_it() -> None:
    held = document(TARGETS[0])
    rotated = rotation.rotated(held, "worker", {"value": "n" * 9 + TOKEN}, NOW, timedelta(hours=1))
    (within,) = plan.make(rotated, {".env": Actual(b"", 0o600)}, NOW).targets
    assert f"OLD={TOKEN}\n".encode() in (within.content or b"")
    there = {".env": Actual(within.content, 0o600)}
    (after,) = plan.make(rotated, there, NOW + timedelta(hours=1)).targets
    assert [(change.action, change.key) for change in after.changes] == [("remove", "OLD")]
    assert b"OLD" not in (after.content or b"") and after.changes[0].after is None


@pytest.mark.parametrize(
    ("target", "data"),
    [
        (TARGETS[0], b"A='open"),
        (TARGETS[1], b"\xff\xfe"),
        (TARGETS[3], b"{"),
        (TARGETS[3], b'{"a": [1]}'),
        (TARGETS[3], b'{"n": NaN}'),
        (TARGETS[3], b"[" * 100_000),
    ],
)
def test_a_file_that_cannot_be_understood_is_a_problem_and_not_written(target: Target, data: bytes) -> None:
    (item,) = plan.make(document(target), {target.path: Actual(data, 0o600)}, NOW).targets
    assert item.problem and item.content is None and plan.make(document(target), {target.path: Actual(data)}, NOW).drift


def test_a_carriage_return_behind_the_hash_is_drift() -> None:
    """ComfyUI-Login compares a password with all of the first line: with one more character none fits."""
    form = FORMATS["comfyui-login-password"]
    assert form.read(f"{HASH}\r\nada\r\n".encode()) == {"hash": f"{HASH}\r", "username": "ada"}
    assert form.write(f"{HASH}\r\nada\r\nmore\r\n".encode(), {"hash": HASH}) == f"{HASH}\nada\nmore\r\n".encode()


def test_an_env_file_of_another_encoding_is_refused() -> None:
    target = Target(".env", "env", {"COMFYUI_API_TOKEN": "comfyui.hash"})
    (item,) = plan.make(document(target), {".env": Actual("A=1\n".encode("utf-16"), 0o600)}, NOW).targets
    assert item.problem and "UTF-8" in item.problem and item.content is None


def test_a_token_file_is_never_written_empty() -> None:
    held = document(Target("t", "token", {"token": "worker.previous.value"}))
    (item,) = plan.make(held, {"t": Actual(b"x", 0o600)}, NOW).targets
    assert item.problem and item.content is None


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("env", ("A-B",)),
        ("env", ("1A",)),
        ("token", ("token", "other")),
        ("comfyui-login-password", ("username",)),
        ("comfyui-login-password", ("hash", "x")),
        ("json", ("a", "a.b")),
        ("json", ("a..b",)),
    ],
)
def test_keys_that_a_format_cannot_have_are_refused(form: str, keys: tuple[str, ...]) -> None:
    with pytest.raises(SecretsError):
        FORMATS[form].check_keys(keys)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b.c", "d.e.f"]), st.text(st.characters(exclude_categories=["Cs"]))))
def test_json_members_come_back(values: dict[str, str]) -> None:
    form = FORMATS["json"]
    made = form.write(b'{"k": [1, 2.5, null]}', dict(values))
    assert {**form.read(made)} == {"k": None, **values}
    removed = form.write(made, dict.fromkeys(values))
    assert json.loads(removed)["k"] == [1, 2.5, None] and set(form.read(removed)) == {"k"}


def test_a_line_end_in_a_value_cannot_make_a_second_line() -> None:
    with pytest.raises(SecretsError):
        FORMATS["comfyui-login-password"].write(None, {"hash": HASH, "username": "a\nb"})
    with pytest.raises(SecretsError):
        FORMATS["token"].write(None, {"token": "a\nb"})


def test_a_document_that_was_changed_by_hand_is_drift() -> None:
    held = document(TARGETS[1])
    other = replace(
        held, secrets={**held.secrets, "worker": replace(held.secrets["worker"], fields={"value": "x" * 30})}
    )
    assert plan.make(other, {"token": Actual(TOKEN.encode(), 0o600)}, NOW).drift
