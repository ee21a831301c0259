"""What the documented tools left: every form is read, disagreement and bad secrets are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyops.auth.secrets import checks, conf_variants, importing, model
from comfyops.auth.secrets.importing import Import
from comfyops.auth.secrets.store import Store
from comfyops.errors import MissingFileError, SecretsError, WeakSecretError
from tests.unit.auth.secrets.values import HASH, NOW, PASSWORD

DOCKER = "docker-configurations/services/comfyui-qwen/.env"
PUBLISHED = "$2b$12$03f3f6f91f4175e338c314f7bd96ebd3dd834b53c1813d69d830f"


def store(folder: Path) -> Store:
    return Store(folder / ".secrets" / "comfyops.yaml")


def take(folder: Path, *files: Path, fresh: bool = False) -> Import:
    return importing.collect(store(folder), files, model.empty(), "comfyui", NOW, fresh=fresh)


def form_a(folder: Path) -> str:
    def place(name: str, path: str, kind: str) -> dict[str, str]:
        return {"name": name, "path": path, "type": kind, "content": "not believed"}

    places = [
        place("secrets_main", str(folder / ".secrets/qwen-api-user.token"), "bcrypt"),
        place("env_main", "D:\\dev\\repository\\.env", "env"),
        place("docker_env", f"/elsewhere/repository/{DOCKER}", "env"),
        place("docker_secrets", "/nowhere/at/all", "bcrypt"),
    ]
    return json.dumps({"version": "1.0", "raw_token": PASSWORD, "bcrypt_hash": HASH, "locations": places})


PLACES_B = [{"type": "env_file", "path": DOCKER}, {"type": "secrets_file", "path": ".secrets/q.token"}]
FORM_B = json.dumps(
    {
        "version": "2.0",
        "raw_token": PASSWORD,
        "bcrypt_hash": HASH,
        "services": {"comfyui-qwen": {"locations": PLACES_B}},
    }
)
FORM_C = json.dumps({"raw_token": PASSWORD, "bcrypt_hash": HASH, "target_files": [".env", DOCKER, "login/PASSWORD"]})
FORM_C_LINES = f"""comfyui_auth_tokens.conf
├── raw_token: "{PASSWORD}"
├── bcrypt_hash: "{HASH}"
└── target_files: [".env", "{DOCKER}", ...]
"""


def test_form_a_with_paths_of_other_machines(tmp_path: Path) -> None:
    conf = tmp_path / "comfyui_auth_tokens.conf"
    conf.write_text(form_a(tmp_path))
    made = take(tmp_path, conf)
    assert dict(made.document.secrets["comfyui"].fields) == {"hash": HASH, "password": PASSWORD, "username": "admin"}
    assert {target.path: dict(target.keys) for target in made.document.targets} == {
        ".secrets/qwen-api-user.token": {"token": "comfyui.hash"},
        ".env": {"COMFYUI_API_TOKEN": "comfyui.hash", "COMFYUI_RAW_TOKEN": "comfyui.password"},
        DOCKER: {"COMFYUI_BEARER_TOKEN": "comfyui.hash"},
    }
    assert made.read == ((conf, "conf A"),) and "another machine" in made.remarks[0]


@pytest.mark.parametrize(
    ("text", "kind", "paths"),
    [
        (FORM_B, "conf B", [DOCKER, ".secrets/q.token"]),
        (FORM_C, "conf C", [".env", DOCKER, "login/PASSWORD"]),
        (FORM_C_LINES, "conf C", [".env", DOCKER]),
        (f"raw_token = {PASSWORD}\nbcrypt_hash = '{HASH}'\n", "conf C", []),
        (
            f"raw_token: {PASSWORD}\nbcrypt_hash: {HASH}\ntarget_files:\n  # all\n  - .env\n  - {DOCKER}\n",
            "conf C",
            [".env", DOCKER],
        ),
        (f"target_files: [\n  '.env',\n  {DOCKER}\n]\nbcrypt_hash: {HASH}\n", "conf C", [".env", DOCKER]),
        (f"├── bcrypt_hash: {HASH}\n└── target_files:\n    ├── .env\n    └── {DOCKER}\n", "conf C", [".env", DOCKER]),
    ],
)
def test_the_other_forms(tmp_path: Path, text: str, kind: str, paths: list[str]) -> None:
    conf = tmp_path / "comfyui_auth_tokens.conf"
    conf.write_text(text)
    made = take(tmp_path, conf)
    assert made.read == ((conf, kind),) and [target.path for target in made.document.targets] == paths
    assert made.document.secrets["comfyui"].fields["hash"] == HASH
    assert model.loads(model.dumps(made.document)) == made.document


def test_password_token_and_env_files_become_targets_themselves(tmp_path: Path) -> None:
    (tmp_path / "login").mkdir()
    password, token, env = tmp_path / "login/PASSWORD", tmp_path / "qwen-api-user.token", tmp_path / ".env"
    password.write_text(f"{HASH}\nada")
    token.write_text(HASH + "\n")
    env.write_text(f"COMFYUI_API_TOKEN=COMFYUI_API_TOKEN={HASH}\nCOMFYUI_RAW_TOKEN={PASSWORD}\nHF_TOKEN=mine\n")
    made = take(tmp_path, password, token, env)
    assert dict(made.document.secrets["comfyui"].fields) == {"hash": HASH, "password": PASSWORD, "username": "ada"}
    assert [(target.path, target.format) for target in made.document.targets] == [
        ("login/PASSWORD", "comfyui-login-password"),
        ("qwen-api-user.token", "token"),
        (".env", "env"),
    ]
    assert "HF_TOKEN" not in made.document.targets[2].keys and "repeats its own name" in made.remarks[0]


@pytest.mark.parametrize("written", ["{}", '"{}"', "'{}'"])
def test_a_hash_that_was_doubled_for_compose_is_the_hash(written: str) -> None:
    line = f"COMFYUI_API_TOKEN={written.format(HASH.replace('$', '$$'))}\n"
    found = conf_variants.env(line.encode())
    in_quotes = written.startswith("'")  # which keep both: it is taken for a bad hash, not for a password
    assert (found.hash, found.password) == (HASH.replace("$", "$$") if in_quotes else HASH, None)


def test_lines_may_have_comments_behind_them() -> None:
    text = f'# of the old tools\r\nraw_token: "{PASSWORD}"  # mine\r\n\r\nbcrypt_hash: {HASH} # its hash\r\n'
    found = conf_variants.conf(text.encode())
    assert (found.hash, found.password) == (HASH, PASSWORD)


def test_a_hash_in_the_line_of_the_name_is_no_name() -> None:
    """Whoever shows names would show the hash, which is the key to everything."""
    assert conf_variants.password_file(f"\n{HASH}".encode()).username is None
    assert conf_variants.password_file(f"# mine\n{HASH}\n".encode()).username is None


def test_a_password_file_that_lets_everybody_in_is_said_and_closed(tmp_path: Path) -> None:
    held = store(tmp_path)
    (tmp_path / "login").mkdir()
    (tmp_path / "login/PASSWORD").write_text("\nada")
    words = [(item.code, item.subject) for item in checks.audit(held, None, NOW)[1:]]
    assert words == [("damaged", "login/PASSWORD")]
    with pytest.raises(SecretsError) as caught:
        take(tmp_path, tmp_path / "login/PASSWORD")
    assert caught.value.hint and "--fresh" in caught.value.hint
    made = take(tmp_path, tmp_path / "login/PASSWORD", fresh=True).document
    assert [target.path for target in made.targets] == ["login/PASSWORD"] and made.secrets["comfyui"].fields["hash"]


def test_an_audit_says_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(".env")
    (tmp_path / "login").mkdir()
    (tmp_path / "login/PASSWORD").write_bytes(b"\xff\xfe$\x002\x00")
    found = checks.audit(store(tmp_path), None, NOW)[1:]
    assert [(item.code, item.subject) for item in found] == [("unreadable", ".env"), ("damaged", "login/PASSWORD")]


def test_a_line_of_many_spaces_is_read_in_no_time() -> None:
    found = conf_variants.conf(f"bcrypt_hash: {HASH}{' ' * 200_000},\nnote: a{' ' * 200_000}b\n".encode())
    assert found.hash == HASH
    assert conf_variants.conf(f"bcrypt_hash: {HASH}\nnote: '{' x' * 200_000}\n".encode()).hash == HASH


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    """Shells of Windows put one before what they write."""
    password, token = tmp_path / "PASSWORD", tmp_path / "qwen-api-user.token"
    password.write_text(f"\ufeff{HASH}\r\nada\r\n")
    token.write_text(f"\ufeff{HASH}\r\n")
    made = take(tmp_path, password, token)
    assert dict(made.document.secrets["comfyui"].fields) == {"hash": HASH, "username": "ada"}


@pytest.mark.parametrize("hash_line", ["", f"COMFYUI_API_TOKEN='{HASH}'\n"])
def test_a_weak_raw_token_is_refused_with_a_way_out(tmp_path: Path, hash_line: str) -> None:
    """Also one that agrees with its hash: the document's own error would lead to a command that cannot work yet."""
    import bcrypt

    weak = "short"
    known = bcrypt.hashpw(weak.encode(), bcrypt.gensalt(10)).decode()
    (tmp_path / ".env").write_text(f"COMFYUI_RAW_TOKEN={weak}\n{hash_line.replace(HASH, known)}")
    with pytest.raises(WeakSecretError, match="raw token of these files") as caught:
        take(tmp_path, tmp_path / ".env")
    assert "--fresh" in str(caught.value.hint)


def test_the_usual_places_are_found(tmp_path: Path) -> None:
    for name in importing.USUAL:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert importing.usual_files(tmp_path) == tuple(tmp_path / name for name in importing.USUAL)


def test_files_that_disagree_are_refused_by_name_and_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.token").write_text(HASH)
    (tmp_path / "b.token").write_text(HASH[:-6] + "abcdeu")
    with pytest.raises(SecretsError, match=r"disagree on the bcrypt hash: a\.token [0-9a-f]{8}, b\.token") as caught:
        take(tmp_path, tmp_path / "a.token", tmp_path / "b.token")
    assert "$2b" not in caught.value.message


def test_variables_that_disagree_count_for_nothing(tmp_path: Path) -> None:
    other = HASH[:-6] + "abcdeu"
    found = conf_variants.env(f"COMFYUI_API_TOKEN={HASH}\nCOMFYUI_BEARER_TOKEN={other}\n".encode())
    assert found.hash is None and found.problems == ("its variables disagree",)


@pytest.mark.parametrize("held", [PUBLISHED, HASH.replace("$10$", "$04$"), HASH[:-1], "coursia-2025", "x" * 30])
def test_bad_secrets_are_refused_and_can_be_made_anew(tmp_path: Path, held: str) -> None:
    file = tmp_path / "qwen-api-user.token"
    file.write_text(held)
    with pytest.raises(WeakSecretError) as caught:
        take(tmp_path, file)
    assert held not in caught.value.message + caught.value.hint
    made = take(tmp_path, file, fresh=True)
    assert held not in made.document.secrets["comfyui"].fields.values() and len(made.document.targets) == 1


def test_a_raw_token_that_does_not_belong_to_the_hash_is_left_out(tmp_path: Path) -> None:
    conf = tmp_path / "comfyui_auth_tokens.conf"
    conf.write_text(json.dumps({"raw_token": PASSWORD + "other", "bcrypt_hash": HASH}))
    made = take(tmp_path, conf)
    assert "password" not in made.document.secrets["comfyui"].fields and "left out" in made.remarks[0]


@pytest.mark.parametrize("data", [b"", b"canary-text", b"[]", b"{}", b"\xff\xff", b"[" * 99_999, b'{"raw_token": 5}'])
def test_what_is_no_conf_is_refused(tmp_path: Path, data: bytes) -> None:
    conf = tmp_path / "comfyui_auth_tokens.conf"
    conf.write_bytes(data)
    with pytest.raises(SecretsError) as caught:
        take(tmp_path, conf)
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("value", [5, [1, {"path": 2}], {"a": {"locations": [3]}}, {"a": 1}, None, "x"])
@pytest.mark.parametrize("key", ["locations", "services", "target_files"])
def test_odd_places_are_passed_over(key: str, value: object) -> None:
    text = json.dumps({"bcrypt_hash": HASH, key: value})
    assert conf_variants.conf(text.encode()).places == ()


def test_an_existing_secret_and_a_missing_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        take(tmp_path, tmp_path / "none.token")
    held = model.empty()
    file = tmp_path / "a.token"
    file.write_text(HASH)
    document = importing.collect(store(tmp_path), [file], held, "comfyui", NOW).document
    with pytest.raises(SecretsError, match="already"):
        importing.collect(store(tmp_path), [file], document, "comfyui", NOW)
    assert importing.collect(store(tmp_path), [file], document, "comfyui", NOW, replace=True).document.targets
