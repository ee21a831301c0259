"""The schema of the queue: made by steps, it is the one that the code works with; and older or newer ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from comfyops.errors import DatabaseError, StorageError
from comfyops.jobs import migrations, schema
from comfyops.jobs.database import engine
from comfyops.jobs.store import Store


@pytest.fixture
def address(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database without any table."""
    return request.getfixturevalue("postgresql").fresh() if database else f"sqlite:///{tmp_path}/queue.db"


def shape(target: Engine) -> dict[str, Any]:
    """Everything that a database says of its tables."""
    look = inspect(target)
    tables = sorted(set(look.get_table_names()) - {migrations.TABLE})
    return {
        name: (
            [{**column, "type": str(column["type"])} for column in look.get_columns(name)],
            look.get_pk_constraint(name)["constrained_columns"],
            sorted(look.get_check_constraints(name), key=lambda item: str(item["name"])),
            sorted(map(_words, look.get_indexes(name))),
            sorted(look.get_unique_constraints(name), key=lambda item: str(item["name"])),
            sorted(look.get_foreign_keys(name), key=lambda item: str(item["constrained_columns"])),
        )
        for name in tables
    }


def _words(index: Any) -> str:
    options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def test_schema_from_zero_equals_the_schema_migrated(
    address: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    Store(address).close()
    other = f"sqlite:///{tmp_path}/zero.db"
    if not address.startswith("sqlite"):
        other = request.getfixturevalue("postgresql").fresh()
    migrated, zero = engine(address), engine(other)
    schema.metadata.create_all(zero)
    assert shape(migrated) == shape(zero)
    with migrated.connect() as connection:
        options = {"version_table": migrations.TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata) == []
    migrated.dispose()
    zero.dispose()


def test_the_newest_step_is_the_one_that_opening_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", "comfyops.jobs:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrations.NEWEST]
    assert {script.revision for script in scripts.walk_revisions()} == set(migrations.VERSIONS)


def test_a_database_of_a_newer_release_is_left_alone(address: str) -> None:
    Store(address).close()
    target = engine(address)
    with target.begin() as connection:
        connection.execute(text(f"UPDATE {migrations.TABLE} SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer ComfyOps"):
        Store(address)
    target.dispose()


def test_an_unfinished_step_leaves_nothing_behind(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = engine(address)
    with target.begin() as connection:  # a table of the same name, made by somebody else, stops the step half-way
        connection.execute(text("CREATE TABLE settings (other INTEGER)"))
    with pytest.raises(DatabaseError):
        Store(address)
    assert inspect(target).get_table_names() == ["settings"]
    target.dispose()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("mysql://u@h/d", DatabaseError, "neither SQLite nor PostgreSQL"),
        ("nonsense", DatabaseError, "not the address of a database"),
        ("sqlite://", DatabaseError, "names no file"),
        ("sqlite:////dev/null/x.db", StorageError, "cannot be made"),
        ("postgresql://nobody:secret-word@127.0.0.1:1/x", DatabaseError, "cannot be used"),
    ],
)
def test_wrong_addresses_are_refused_in_words(wrong: str, error: Any, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        Store(wrong)
    assert "secret-word" not in caught.value.message
