"""`comfyops auth` and `comfyops audit`, as people and scripts use them."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyops.auth.store import Store
from tests.acceptance import processes
from tests.acceptance.processes import Done

PASSWORD = b"four words that stay\n"
Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command with a home of its own."""

    def command(*arguments: str, stdin: bytes | None = None) -> Done:
        home = {"COMFYOPS_HOME": str(tmp_path / "home")}
        return processes.comfyops(*arguments, folder=tmp_path, stdin=stdin, variables=home)

    return command


def test_a_token_is_shown_once_and_listed_without_its_secret(run: Run) -> None:
    made = run("auth", "token", "create", "ci", "--role", "artist", "--expires", "30d", "--json").data
    assert made["token"].startswith(f"cops_{made['id']}_") and made["expires_at"] - made["created_at"] >= 2_591_990
    listed = run("auth", "token", "ls", "--json")
    assert [item["name"] for item in listed.data] == ["ci"] and made["token"][22:] not in listed.out
    plain = run("auth", "token", "create", "second", "--role", "viewer")
    assert plain.out.startswith("cops_") and plain.out.count("\n") == 1
    rotated = run("auth", "token", "rotate", "ci", "--json").data
    assert rotated["token"] != made["token"] and rotated["owner"] == made["owner"]
    run("auth", "token", "revoke", "ci")
    assert [item["name"] for item in run("auth", "token", "ls", "--json").data] == ["second"]
    assert len(run("auth", "token", "ls", "--all", "--json").data) == 3


def test_impossible_requests_are_refused_in_plain_words(run: Run) -> None:
    run("auth", "token", "create", "ci", "--role", "boss").failed_with("account", "'boss'", "viewer")
    run("auth", "token", "create", "../x", "--role", "viewer").failed_with("account", "letters")
    run("auth", "token", "create", "ci", "--role", "viewer", "--expires", "soon").failed_with(
        "usage", "'soon'", "30d", exit_code=2
    )
    run("auth", "token", "revoke", "nothing").failed_with("account", "'nothing'")
    run("auth", "user", "disable", "nobody").failed_with("account", "'nobody'")
    run("auth", "user", "create", "ann", "--role", "viewer").failed_with("usage", "--password-stdin", exit_code=2)
    short = run("auth", "user", "create", "ann", "--role", "viewer", "--password-stdin", stdin=b"short\n")
    short.failed_with("weak_password", "10 characters")
    empty = run("auth", "user", "create", "ann", "--role", "viewer", "--password-stdin", stdin=b"")
    empty.failed_with("usage", "stdin", exit_code=2)
    run("auth", "role", "set", "batch", "everything").failed_with("account", "'everything'", "jobs:write")
    run("auth", "role", "set", "administrator", "self").failed_with("account", "administrator")


def test_the_first_administrator_is_made_once(run: Run) -> None:
    secret = run("auth", "init", "--json").data["secret"]
    assert len(secret) >= 32
    made = run("auth", "init", "boss", "--password-stdin", "--json", stdin=PASSWORD).data
    assert made["user"]["role"] == "administrator" and made["secret"] is None
    run("auth", "init").failed_with("account", "administrator already")
    run("auth", "init", "other", "--password-stdin", stdin=PASSWORD).failed_with("account", "administrator already")


def test_who_is_left_without_an_administrator_is_told(run: Run) -> None:
    run("auth", "init", "boss", "--password-stdin", stdin=PASSWORD)
    run("auth", "user", "create", "other", "--role", "administrator", "--password-stdin", stdin=PASSWORD)
    assert "no administrator" not in run("auth", "user", "disable", "other").err
    assert "no administrator" in run("auth", "user", "role", "boss", "viewer").err
    assert run("auth", "init", "third", "--password-stdin", stdin=PASSWORD).code == 0


def test_a_password_from_stdin_is_utf8(run: Run) -> None:
    """Whatever the terminal's language: a browser sends UTF-8 too; a byte order mark is no part of it."""
    words = ("auth", "user", "create", "ann", "--role", "viewer", "--password-stdin")
    run(*words, stdin="caf\xe9 and some more".encode("latin-1")).failed_with("usage", "UTF-8", exit_code=2)
    assert run(*words, stdin=b"\xef\xbb\xbf" + PASSWORD).code == 0
    run("auth", "role", "set", "viewer").failed_with("usage", "--remove", exit_code=2)


@pytest.mark.parametrize("length", ["", "0d", "-1d", "999999999w"])
def test_an_odd_length_of_time_never_makes_a_token_for_ever(run: Run, length: str) -> None:
    """An empty variable of a script must not stand for no end."""
    run("auth", "token", "create", "ci", "--role", "viewer", "--expires", length).failed_with(
        "usage", "30d", exit_code=2
    )
    run("auth", "token", "rotate", "ci", "--overlap", length).failed_with("usage", "30d", exit_code=2)


def test_a_closed_stdin_is_an_empty_one(tmp_path: Path) -> None:
    for words in (
        "auth user create ann --role viewer --password-stdin",
        "auth user create ann --role viewer",
        "secrets rotate ann --create --value-stdin",
    ):
        line = [processes.COMMAND, *words.split(), "--json"]
        told = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *line],
            cwd=tmp_path,
            env=processes.environment(COMFYOPS_HOME=str(tmp_path / "home")),
            capture_output=True,
            check=False,
        )
        assert told.returncode == 2, told
        assert json.loads(told.stdout)["error"]["code"] == "usage"


def test_users_and_roles_are_made_and_changed(run: Run) -> None:
    role = run("auth", "role", "set", "batch", "jobs:read", "jobs:write", "self", "--json").data
    assert role["scopes"] == ["jobs:read", "jobs:write", "self"]
    assert run("auth", "role", "ls", "--json").data["batch"] == role["scopes"]
    run("auth", "user", "create", "ann", "--role", "batch", "--password-stdin", stdin=PASSWORD)
    run("auth", "role", "set", "batch", "--remove").failed_with("account", "in use")
    assert run("auth", "user", "disable", "ann", "--json").data["disabled"] is True
    assert run("auth", "user", "disable", "ann", "--undo", "--json").data["disabled"] is False
    assert run("auth", "user", "password", "ann", "--password-stdin", stdin=b"and now some others\n").code == 0
    listed = run("auth", "user", "ls", "--json")
    assert [item["name"] for item in listed.data] == ["ann"] and "$2b$" not in listed.out


def test_what_was_done_is_recorded_verified_and_exported(run: Run, tmp_path: Path) -> None:
    run("auth", "user", "create", "ann", "--role", "viewer", "--password-stdin", stdin=PASSWORD)
    token = run("auth", "token", "create", "ci", "--role", "artist", "--json").data["token"]
    run("auth", "token", "create", "ci", "--role", "artist")
    listed = run("audit", "ls", "--json")
    assert [item["action"] for item in listed.data][::-1] == ["auth.user.create", *["auth.token.create"] * 2]
    assert [item["allowed"] for item in listed.data][::-1] == [True, True, False]
    assert token[22:] not in listed.out and "four words" not in listed.out
    assert len(run("audit", "ls", "--refused", "--json").data) == 1
    head = run("audit", "verify", "--json").data["hash"]
    exported = run("audit", "export", "-o", "all.jsonl", "--json").data
    assert exported["records"] == 3 and stat.S_IMODE((tmp_path / "all.jsonl").stat().st_mode) == 0o600
    assert [json.loads(line)["seq"] for line in (tmp_path / "all.jsonl").read_text().splitlines()] == [1, 2, 3]
    run("auth", "token", "revoke", "ci")
    assert run("audit", "verify", "--head", head).code == 0
    run("audit", "verify", "--head", "f" * 64).failed_with("audit_broken", "head")
    for odd in ("", "head", head[1:], head.upper() + "X"):  # an empty variable of a script is no head that was found
        run("audit", "verify", "--head", odd).failed_with("usage", "64", exit_code=2)
    assert run("audit", "prune", "--json").data == {"dropped": 0}


def test_a_record_that_is_gone_is_said_to_be_empty(run: Run, tmp_path: Path) -> None:
    run("auth", "token", "create", "ci", "--role", "viewer")
    head = run("audit", "verify", "--json").data["hash"]
    (tmp_path / "home/audit.db").unlink()
    empty = run("audit", "verify")
    assert empty.code == 0 and "there is no record" in empty.err
    run("audit", "verify", "--head", head).failed_with("audit_broken", "head")


def test_a_changed_record_is_found(run: Run, tmp_path: Path) -> None:
    run("auth", "token", "create", "ci", "--role", "artist")
    connection = sqlite3.connect(tmp_path / "home" / "audit.db")
    connection.execute("DROP TRIGGER records_stay")
    connection.execute("UPDATE records SET actor = 'somebody else'")
    connection.commit()
    connection.close()
    run("audit", "verify").failed_with("audit_broken", "Record 1")


def test_files_of_access_are_private_and_broken_ones_give_no_traceback(run: Run, tmp_path: Path) -> None:
    run("auth", "token", "create", "ci", "--role", "artist")
    files = list((tmp_path / "home").glob("*.db*"))
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600} and len(files) >= 2
    (tmp_path / "home" / "auth.db").write_bytes(b"no database" * 500)
    run("auth", "token", "ls").failed_with("storage", "auth.db")


def test_a_home_of_a_newer_version_is_left_alone(run: Run, tmp_path: Path) -> None:
    run("auth", "token", "create", "ci", "--role", "artist")
    connection = sqlite3.connect(tmp_path / "home" / "auth.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    run("auth", "token", "ls").failed_with("storage", "newer")


def test_sessions_are_listed_and_ended(run: Run, tmp_path: Path) -> None:
    run("auth", "user", "create", "ann", "--role", "artist", "--password-stdin", stdin=PASSWORD)
    store = Store.at_home(tmp_path / "home")
    user = store.users.named("ann")
    assert user is not None
    ids = [store.sessions.add(user, str(number), time.time(), time.time() + 600)[0].id for number in range(3)]
    store.close()
    assert sorted(item["id"] for item in run("auth", "session", "ls", "--json").data) == sorted(ids)
    assert run("auth", "session", "end", ids[0], "--json").data == {"ended": [ids[0]]}
    assert sorted(run("auth", "session", "end", "--user", "ann", "--json").data["ended"]) == sorted(ids[1:])
    run("auth", "session", "end", ids[0]).failed_with("account", ids[0])
    run("auth", "session", "end").failed_with("usage", "--user", exit_code=2)
    assert [line["action"] for line in run("audit", "ls", "--action", "auth.session", "--json").data].count(
        "auth.session.end"
    ) == 3
