"""The file of access: its steps, its owners, many processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from comfyops.auth import durations, schema
from comfyops.auth.administration import Administration
from comfyops.auth.store import Store
from comfyops.errors import AccountError, StorageError, UsageError, WeakPasswordError
from tests.unit.auth.conftest import PASSWORD, Clock


def test_the_steps_make_the_tables_that_are_declared(store: Store) -> None:
    engine = create_engine(f"sqlite:///{store.path}")
    found = inspect(engine)
    assert set(found.get_table_names()) == set(schema.metadata.tables)
    for name, table in schema.metadata.tables.items():
        made = {item["name"]: (str(item["type"]), item["nullable"]) for item in found.get_columns(name)}
        assert made == {item.name: (str(item.type), item.nullable) for item in table.columns}, name
    engine.dispose()


def test_a_file_is_opened_again_with_what_it_holds(
    tmp_path: Path, administration: Administration, store: Store
) -> None:
    administration.create_token("old", "artist")
    administration.revoke_token("old")
    administration.create_token("ci", "artist")
    again = Store(store.path)
    assert [token.name for token in again.tokens.all()] == ["old", "ci"] and again.revision() == store.revision() > 0
    again.close()


def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    code = "import sys, pathlib; from comfyops.auth.store import Store; Store(pathlib.Path(sys.argv[1])).users.all()"
    command = [sys.executable, "-c", code, str(tmp_path / "new" / "auth.db")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"auth\.db"):
        Store(tmp_path / "file" / "auth.db")


def test_names_are_unique_and_can_be_used_again_after_revocation(administration: Administration) -> None:
    first = administration.create_token("ci", "artist")
    with pytest.raises(AccountError):
        administration.create_token("ci", "viewer")
    administration.revoke_token(first.token.id)
    second = administration.create_token("ci", "viewer")
    assert second.token.owner != first.token.owner
    administration.create_user("ann", "viewer", PASSWORD)
    with pytest.raises(AccountError):
        administration.create_user("ANN", "viewer", PASSWORD)
    with pytest.raises(AccountError):
        administration.create_token("x", "viewer", user="nobody")


def test_an_expired_token_gives_its_name_up_and_is_not_rotated(
    administration: Administration, clock: Clock, store: Store
) -> None:
    administration.create_token("ci", "artist", lifetime=60.0)
    clock.now += 61
    with pytest.raises(AccountError):
        administration.rotate_token("ci")
    fresh = administration.create_token("ci", "artist")
    assert [token.id for token in store.tokens.all() if token.usable(clock.now)] == [fresh.token.id]


def test_a_user_gets_another_role(administration: Administration, store: Store) -> None:
    administration.create_user("ann", "viewer", PASSWORD)
    assert administration.set_user_role("ann", "operator").role == "operator"
    assert [user.role for user in store.users.all()] == ["operator"]
    with pytest.raises(AccountError):
        administration.set_user_role("ann", "boss")


def test_a_text_that_is_no_unicode_is_refused(administration: Administration) -> None:
    for change in (administration.revoke_token, administration.disable_user):
        with pytest.raises(AccountError):
            change("\udcff")


def test_a_new_token_ends_nobodys_connection(administration: Administration, store: Store) -> None:
    administration.create_token("ci", "artist")
    assert store.changes_since(0) == ()


def test_old_changes_are_swept_out_and_the_revision_grows(
    administration: Administration, store: Store, clock: Clock
) -> None:
    administration.create_token("ci", "artist")
    before = store.revision()
    clock.now += 100_000
    administration.revoke_token("ci")
    assert store.revision() > before and len(store.changes_since(0)) == 1


@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "-x", "a/b", "x" * 65, "a\n", "ü", "[red]"])
def test_a_name_is_plain(administration: Administration, name: str) -> None:
    with pytest.raises(AccountError):
        administration.create_token(name, "viewer")
    with pytest.raises(AccountError):
        administration.create_user(name, "viewer", PASSWORD)
    with pytest.raises(AccountError):
        administration.set_role(name, ["self"])


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaa", "password123", "Administrator", "x" * 2000])
def test_a_password_that_anybody_would_try_is_refused(administration: Administration, password: str) -> None:
    with pytest.raises(WeakPasswordError):
        administration.create_user("ann", "viewer", password)
    with pytest.raises(WeakPasswordError):
        administration.create_user("administrator", "viewer", "administrator")


def test_a_changed_role_of_ours_gets_its_scopes_back(administration: Administration, store: Store) -> None:
    before = store.roles.all()
    administration.set_role("artist", ["self"])
    assert store.roles.all()["artist"] == {"self"}
    administration.remove_role("artist")
    assert store.roles.all() == before
    for name in ("guest", "administrator"):
        with pytest.raises(AccountError):
            administration.set_role(name, ["self"])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43_200), (" 30D ", 2_592_000)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5h", "9999999w", "30 days", "１d"])
def test_other_texts_are_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError):
        durations.seconds(text)
