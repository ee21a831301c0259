"""The document: read back as written; what is wrong is named by place, never by value."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml

from comfyops.auth.secrets import model, rotation, strength
from comfyops.auth.secrets.model import Target
from comfyops.errors import SecretsError, WeakSecretError
from tests.unit.auth.secrets.values import HASH, NOW, PASSWORD, TOKEN, document

CANARY = "canary-9f2k"
GOOD = yaml.safe_load(model.dumps(document(Target(".env", "env", {"A": "comfyui.hash"}, 0o640))))


def test_a_document_comes_back_as_it_was() -> None:
    held = document(Target(".env", "env", {"A": "comfyui.hash"}, 0o640))
    assert model.loads(model.dumps(held)) == held
    rotated = rotation.rotated(held, "comfyui", held.secrets["comfyui"].fields, NOW, timedelta(hours=2))
    assert model.loads(model.dumps(rotated)) == rotated and rotated.revision == 2


@pytest.mark.parametrize(
    "text",
    [
        f"a: *{CANARY}",
        f"a: !{CANARY} x",
        f"{CANARY}: 1\n{CANARY}: 2",
        f'a: "{CANARY}',
        f'a: "\\{CANARY}"',
        f"- {CANARY}",
        CANARY,
        f"schema: {CANARY}",
        f"schema: comfyops-secrets/1\n{CANARY}: 1",
        "",
        "\0",
    ],
)
def test_what_is_no_document_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(SecretsError) as caught:
        model.loads(text.encode())
    assert CANARY not in caught.value.message + str(caught.value.facts) + caught.value.hint


def _with(*path: str | int, value: object) -> bytes:
    changed = yaml.safe_load(yaml.safe_dump(GOOD))
    item = changed
    for name in path[:-1]:
        item = item[name]
    item[path[-1]] = value
    return yaml.safe_dump(changed).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("secrets", "comfyui", "kind"), CANARY),
        (("secrets", "comfyui", "fields"), {CANARY: "x"}),
        (("secrets", "comfyui", "fields", "hash"), 5),
        (("secrets", "comfyui", "fields"), {"password": CANARY}),
        (("secrets", "comfyui", "created"), CANARY),
        (("secrets", "comfyui", "previous"), {"hash": CANARY}),
        (("secrets", "a b"), {}),
        (("targets",), {"a": CANARY}),
        (("targets", 0, "mode"), "0644"),
        (("targets", 0, "mode"), "0700"),
        (("targets", 0, "mode"), CANARY),
        (("targets", 0, "format"), "xml"),
        (("targets", 0, "path"), ""),
        (("targets", 0, "path"), "a\nb"),
        (("targets", 0, "keys"), {"A": "nobody.hash"}),
        (("targets", 0, "keys"), {"A": CANARY}),
        (("targets", 0, "keys"), {"A": f"comfyui.{CANARY}"}),
        (("secrets", "comfyui", "fields", "password"), f"{CANARY}\ud800"),
        (("targets", 0, "keys"), {"A": "comfyui.value"}),
        (("targets", 0, "keys"), {"A": "comfyui.before.hash"}),
        (("targets", 0, "keys"), {}),
        (("targets",), [GOOD["targets"][0], GOOD["targets"][0]]),
        (("revision",), True),
        (("fingerprint_key",), "short"),
    ],
)
def test_an_impossible_field_is_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(SecretsError) as caught:
        model.loads(_with(*path, value=value))
    assert CANARY not in caught.value.message


def test_a_rotation_within_a_window_is_refused_and_finishing_ends_it() -> None:
    rotated = rotation.rotated(document(), "worker", {"value": "n" + TOKEN}, NOW, timedelta(days=1))
    assert rotated.value("worker.previous.value", NOW) == TOKEN and rotated.value("worker.value", NOW) == "n" + TOKEN
    with pytest.raises(SecretsError, match="still in force"):
        rotation.rotated(rotated, "worker", {"value": "m" + TOKEN}, NOW, timedelta(days=1))
    assert rotation.finished(rotated, None, NOW) == rotated
    late = rotation.finished(rotated, None, NOW + timedelta(days=1))
    early = rotation.finished(rotated, frozenset({"worker"}), NOW)
    for done in (late, early):
        assert (
            done.value("worker.previous.value", NOW) is None and TOKEN not in done.secrets["worker"].previous.values()
        )


def test_a_rotation_without_a_window_keeps_nothing_of_the_old_value() -> None:
    rotated = rotation.rotated(document(), "worker", {"value": "n" + TOKEN}, NOW, timedelta(0))
    assert rotated.secrets["worker"].previous == {} and f"{TOKEN}" not in model.dumps(rotated).decode().replace(
        "n" + TOKEN, ""
    )
    for window in (timedelta(days=31), timedelta(seconds=-1)):
        with pytest.raises(SecretsError):
            rotation.rotated(document(), "worker", {"value": TOKEN}, NOW, window)


def test_new_values_are_random_and_belong_together() -> None:
    login, other = rotation.fresh("login"), rotation.fresh("login")
    assert login["password"] != other["password"] and rotation.belongs(login["password"], login["hash"])
    assert not rotation.belongs(other["password"], login["hash"]) and not rotation.belongs("x", "no hash")
    assert rotation.fresh("token")["value"] != rotation.fresh("token")["value"]
    assert login["hash"].startswith("$2b$12$")


@pytest.mark.parametrize(
    "value", ["a3Xk9", "x" * 40, "change-me-please-now-1", "aB3$ with\nline ends 12", " aB3dE5gH7jK9mN1pQ3s "]
)
def test_weak_tokens_are_refused_without_quoting_them(value: str) -> None:
    with pytest.raises(WeakSecretError) as caught:
        rotation.fresh("token", value)
    assert value not in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        "coursia-2025",
        "$2b$12$03f3f6f91f4175e338c314f7bd96ebd3dd834b53c1813d69d830f",
    ],
)
def test_secrets_of_the_documents_are_refused_as_published(value: str) -> None:
    assert strength.token_problem(value) == "it was published"


@pytest.mark.parametrize(
    "value",
    [
        HASH[:-1],
        HASH + "x",
        HASH.replace("$10$", "$04$"),
        HASH[:28] + "/" + HASH[29:],
        HASH[:-1] + "/",
        "$2b$12$" + "a" * 52 + "!",
    ],
)
def test_what_is_no_good_bcrypt_hash_is_refused(value: str) -> None:
    assert strength.hash_problem(value) is not None and strength.hash_problem(HASH) is None


def test_good_secrets_pass_and_long_passwords_do_not() -> None:
    assert strength.token_problem(TOKEN) is None and strength.password_problem(PASSWORD) is None
    assert "72 bytes" in (strength.password_problem("é" * 40) or "")
    assert strength.field_problem("username", "a\nb") is not None
