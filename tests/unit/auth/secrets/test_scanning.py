"""Secrets in files that should hold none; and that this repository holds none."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from comfyops.auth.credentials import TokenText
from comfyops.auth.secrets.scanning import files_below, scan, suspects
from comfyops.errors import SecretsError

ROOT = Path(__file__).parents[4]

ALLOWED = {
    "82eb2be6434013b0": "a hash that stands in public documents; tests see that it is refused",
    "5ef89aac0432952d": "a token that stands in public documents; tests see that it is refused",
    "32e7d695a3d86cc0": "bcrypt of a password that the tests made up",
    "ed777e66d7930675": "the key of the object store that the tests start themselves",
}
"""Digests of values in this repository that look like secrets and are none, and why."""


def tracked() -> list[Path]:
    """Every file that git knows of; without git, every file of the folder."""
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if done.returncode != 0:
        return list(files_below(ROOT))
    return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_of_this_repository_holds_a_secret() -> None:
    files = tracked()
    assert len(files) > 500 and ROOT / "pyproject.toml" in files
    found = [f"{item.file.relative_to(ROOT)}:{item.line} {item.kind} {item.digest}" for item in scan(files, ALLOWED)]
    assert found == []


def test_every_exception_is_needed() -> None:
    folders = [path for path in tracked() if path.suffix == ".py"]
    assert {item.digest for item in scan(folders)} == set(ALLOWED)


# Put together here, so that this file holds none of them whole.
SECRETS = {
    "ComfyOps token": TokenText.new().text,
    "Hugging Face token": "hf_" + "aB3" * 12,
    "GitHub token": "ghp_" + "aB3x" * 9,
    "GitLab token": "glpat-" + "aB3x" * 5,
    "Slack token": "xoxb-" + "123456789012-" + "aB3x" * 6,
    "API key": "sk-" + "aB3x" * 10,
    "AWS key": "AKIA" + "A1B2" * 4,
    "Google key": "AIza" + "aB3x5" * 7,
    "bcrypt hash": "$2b$12$" + "aB3x." * 10 + "abC",
    "signed token": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3" + "." + "aB3x" * 8,
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 2,
    "password in an address": "ann:" + "Xk9-vu2Lq_71zPo",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_and_never_shown(tmp_path: Path, kind: str) -> None:
    value = SECRETS[kind]
    text = (
        f"# first\nvalue = 'https://{value}@host'\n" if kind.startswith("password") else f"# first\nvalue = '{value}'\n"
    )
    (found,) = suspects(Path("x.py"), text)
    assert (found.kind, found.line) == (kind, 2) and value not in repr(found)
    assert list(suspects(Path("x.py"), text, {found.digest})) == []
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(text.encode()))
    assert [item.kind for item in scan(files_below(tmp_path))] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "hf_token = settings.hf_token",
        "cops_0123456789abcdef_****",
        "https://user:password@host/",
        "postgresql://{user}:{password}@localhost",
        "sk-learn and risk-averse-people-are-here",
        "-----BEGIN PRIVATE KEY-----",
        "sha256:" + "0123456789abcdef" * 4,
        "eyJhbGciOiJIUzI1NiJ9",
    ],
)
def test_plain_words_and_hashes_of_files_are_none(text: str) -> None:
    assert list(suspects(Path("x"), text)) == []


def test_environments_and_links_are_left_out(tmp_path: Path) -> None:
    for name in (".git", ".venv", "src"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "src" / "x")
    assert list(files_below(tmp_path)) == [tmp_path / "src" / "x"]
    with pytest.raises(SecretsError):
        list(files_below(tmp_path / "nothing"))
    (tmp_path / "src" / "broken.gz").write_bytes(b"no gzip")
    with pytest.raises(SecretsError, match="broken"):
        list(scan(files_below(tmp_path)))
