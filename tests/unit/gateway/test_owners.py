"""Whose job it is: committed before anybody goes on, many at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from comfyops.errors import StorageError
from comfyops.gateway.owners import File, Owners

BACKEND = "http://127.0.0.1:8188"


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[Owners]:
    made = Owners(tmp_path / "gateway.db")
    yield made
    made.close()


def on_disk(path: Path) -> list[tuple[str, str]]:
    """What another process sees."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT id, owner FROM jobs ORDER BY at").fetchall()


async def test_a_job_is_one_owners_and_on_disk_before_it_goes_on(owners: Owners, tmp_path: Path) -> None:
    claims = [("a", "ann"), ("b", "bob"), ("a", "bob")]
    assert await asyncio.gather(*(owners.claim(*claim, BACKEND) for claim in claims)) == [True, True, False]
    assert on_disk(tmp_path / "gateway.db") == [("a", "ann"), ("b", "bob")]
    assert not await owners.claim("b", "ann", BACKEND) and owners.owner("b") == "bob"


async def test_a_claim_of_somebody_who_went_away_keeps_nobody_else_waiting(owners: Owners) -> None:
    gone = asyncio.ensure_future(owners.claim("a", "ann", BACKEND))
    stays = asyncio.ensure_future(owners.claim("b", "bob", BACKEND))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays and owners.owner("b") == "bob"


async def test_jobs_are_listed_the_newest_first(owners: Owners) -> None:
    names = [f"{number:04}" for number in range(300)]
    assert all(await asyncio.gather(*(owners.claim(name, "ann", BACKEND) for name in names)))
    assert owners.jobs("ann", BACKEND, 300) == names[::-1] and owners.jobs("ann", BACKEND, 2, 1) == ["0298", "0297"]


async def test_after_many_jobs_the_log_is_brought_into_the_file(owners: Owners, tmp_path: Path) -> None:
    for start in range(0, 4200, 100):
        names = [f"job {number}" for number in range(start, start + 100)]
        await asyncio.gather(*(owners.claim(name, "ann", BACKEND) for name in names))
    async with asyncio.timeout(20):
        while (tmp_path / "gateway.db").stat().st_size < 64 * 1024:  # noqa: ASYNC110 - a thread is waited for
            await asyncio.sleep(0.02)
    assert len(on_disk(tmp_path / "gateway.db")) == 4200


async def test_where_the_record_cannot_be_written_nobody_gets_the_job(owners: Owners, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as db:
        db.execute("ALTER TABLE jobs RENAME TO lost")
    claims = (owners.claim("a", "ann", BACKEND), owners.claim("b", "bob", BACKEND))
    found = await asyncio.gather(*claims, return_exceptions=True)
    assert [type(item) for item in found] == [StorageError, StorageError]


def test_a_text_may_name_ones_own_files_and_nobodys(owners: Owners) -> None:
    file = File("input", "", "a.png")
    assert owners.may_name("ann", file)
    owners.add_files("bob", [file])
    assert not owners.may_name("ann", file) and owners.may_name("bob", file)
    owners.add_files("ann", [file])
    assert owners.may_name("ann", file)


def test_a_folder_with_a_file_of_somebody_else_is_known(owners: Owners) -> None:
    owners.add_files("ann", [File("input", "people", "a.png"), File("output", "made", "b.png")])
    assert owners.has_others_in("bob", "people") and owners.has_others_in("bob", "")
    assert not owners.has_others_in("ann", "people") and not owners.has_others_in("bob", "peopl")
    assert not owners.has_others_in("bob", "made")
    owners.add_files("bob", [File("input", "people", "a.png")])
    assert not owners.has_others_in("bob", "people")
    owners.add_files("ann", [File("input", "people/more", "c.png")])
    assert owners.has_others_in("bob", "people")


def test_a_file_of_two_is_nobodys_alone(owners: Owners) -> None:
    file = File("input", "", "a.png")
    owners.add_files("ann", [file])
    assert owners.is_only_owners("ann", file) and not owners.is_only_owners("bob", file)
    owners.add_files("bob", [file])
    assert not owners.is_only_owners("ann", file)
