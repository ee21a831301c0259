"""Settings: one reader, one order, clear refusals, secrets kept."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from comfyops import config
from comfyops.config import Settings
from comfyops.errors import UsageError
from tests.unit.doc_pages import DOCS, ROOT, table


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("COMFYUI_URL", *(f"COMFYOPS_{name.upper()}" for name in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_only_one_file_reads_the_environment() -> None:
    readers = set()
    for path in (ROOT / "src").rglob("*.py"):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Attribute) and item.attr in ("environ", "getenv", "environb"):
                readers.add(path.name)
    assert readers == {"config.py"}


def test_every_setting_is_documented() -> None:
    documented = {row[0]: row[1] for row in table(DOCS / "reference.md", "setting")}
    assert set(documented) == set(Settings.model_fields)
    assert all(f"COMFYOPS_{name.upper()}" in variables for name, variables in documented.items())
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_comes_before_the_file_and_an_option_before_both(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.load().server == config.DEFAULT_SERVER and config.given_server() is None
    (clean / ".env").write_text("COMFYUI_URL=http://file:1\nCOMFYOPS_TIMEOUT=5\nOTHER=x\n")
    assert (config.load().server, config.load().timeout) == ("http://file:1", 5.0)
    monkeypatch.setenv("COMFYUI_URL", "http://variable:1")
    assert config.given_server() == "http://variable:1"
    assert config.override(config.load(), server="http://option:1", timeout=None).server == "http://option:1"
    monkeypatch.setenv("COMFYOPS_TIMEOUT", "")
    assert config.load().timeout == 5.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("TIMEOUT", "abc"), ("TIMEOUT", "0"), ("TIMEOUT", "nan"), ("TIMEOUT", "inf"), ("STALL_TIMEOUT", "-1")],
)
def test_an_impossible_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"COMFYOPS_{name}", value)
    with pytest.raises(UsageError, match=f"The setting '{name.lower()}' is wrong: input should be") as caught:
        config.load()
    assert f"COMFYOPS_{name}" in caught.value.hint and "\n" not in caught.value.message


def test_options_are_checked_like_variables() -> None:
    with pytest.raises(UsageError, match="'timeout' is wrong"):
        config.override(config.load(), timeout=0)


def test_a_settings_file_that_is_no_text_is_refused(clean: Path) -> None:
    (clean / ".env").write_bytes(b"COMFYUI_URL=\xff\xfe")
    with pytest.raises(UsageError, match=r"\.env is not text"):
        config.load()


def test_a_line_that_cannot_be_read_is_told_once(clean: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Compose knows more forms of lines than we do; such a file is read several times by one command."""
    (clean / ".env").write_text("A=1\n" * 73 + "'unknown form': 'x'\nCOMFYOPS_TIMEOUT=5\n")
    for _ in range(3):
        assert config.load().timeout == 5.0
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["74"]


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYOPS_TOKEN", "s3cret")
    settings = config.load()
    assert settings.token is not None and settings.token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        config.load().server = "http://other"  # type: ignore[misc]


def test_internal_errors_are_explained_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYOPS_DEBUG", raising=False)
    assert not config.debugging()
    monkeypatch.setenv("COMFYOPS_DEBUG", "1")
    assert config.debugging()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("COMFYOPS_SESSION_EXPIRE_HOUR", "COMFYOPS_SESSION_EXPIRE_HOURS"),
        ("COMFYOPS_QUITE_ANOTHER_THING", "reference.md"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    name: str, near: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / ".env").write_text(f"{name}=1\n")
    with pytest.raises(UsageError, match=name) as caught:
        config.load()
    assert near in caught.value.hint
    (clean / ".env").unlink()
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match=name):
        config.load()


def test_variables_that_others_set_for_a_service_of_our_name_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYOPS_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("COMFYOPS_PORT_8189_TCP", "tcp://10.0.0.1:8189")
    config.load()


def test_the_documented_names_of_access_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MAX_LOGIN_ATTEMPTS": "7", "SESSION_EXPIRE_HOURS": "8", "GUEST_MODE_ENABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    found = config.load().auth
    assert (found.max_login_attempts, found.session_lifetime, found.guest_mode) == (7, 28_800.0, True)
    monkeypatch.setenv("MAX_LOGIN_ATTEMPTS", "many")
    with pytest.raises(UsageError, match="max_login_attempts"):
        config.load()


def test_the_token_and_the_cache_of_hugging_faces_own_tools_are_where_they_put_them(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HOME", "HF_TOKEN", "HF_API_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(clean / "cache"))
    (clean / "cache" / "huggingface").mkdir(parents=True)
    (clean / "cache" / "huggingface" / "token").write_text("of-the-cache\n")
    assert config.load().hub_token == "of-the-cache"
    assert config.load().hub_cache == clean / "cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(clean / "home"))
    assert config.load().hub_token is None and config.load().hub_cache == clean / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(clean / "blobs"))
    assert config.load().hub_cache == clean / "blobs"
    (clean / "other").write_text("of-the-file")
    monkeypatch.setenv("HF_TOKEN_PATH", str(clean / "other"))
    assert config.load().hub_token == "of-the-file"
    monkeypatch.setenv("HF_TOKEN", "of-the-variable")
    assert config.load().hub_token == "of-the-variable"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert config.load().offline


def test_proxies_are_taken_from_the_usual_variables_and_their_passwords_stay_hidden(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert config.load().https_proxy is None
    monkeypatch.setenv("all_proxy", "http://everything:1")
    monkeypatch.setenv("https_proxy", "http://me:geheim@secure:2")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    chosen = config.load()
    assert chosen.http_proxy and chosen.http_proxy.get_secret_value() == "http://everything:1"
    assert chosen.https_proxy and chosen.https_proxy.get_secret_value() == "http://me:geheim@secure:2"
    assert chosen.no_proxy == "10.0.0.0/8" and "geheim" not in repr(chosen)
