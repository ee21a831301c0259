"""Outputs copied out by the queue: once, durably, from the moment on at which a destination is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update

from comfyops.errors import UsageError
from comfyops.jobs import schema, transitions
from comfyops.jobs.exports import Exporter, ExportSettings
from comfyops.jobs.job import JobState, Submission
from comfyops.jobs.queue import Queue

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}


async def done(queue: Queue, data: bytes = b"picture", *, text: str = "") -> str:
    """A job that is done, with an output: a file of these bytes, and a text where one is given."""
    job = (await queue.submit(Submission(GRAPH), "ann")).job.id
    path = queue.files.incoming()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    kept = await queue.files.keep(path)

    def write(tx):
        asset = {"hash": kept.hash, "sha256": kept.sha256, "size": kept.size, "mime": "image/png"}
        known = select(schema.assets.c.hash).where(schema.assets.c.hash == kept.hash)
        if tx.execute(known).first() is None:
            tx.execute(schema.assets.insert().values(**asset, created_at=tx.now, used_at=tx.now))
        common = {"job": job, "subfolder": "", "folder_type": "output", "kind": "image", "mime": "image/png"}
        files = [("x_00001_.png", kept.hash, "")] + ([("", None, text)] if text else [])
        for index, (name, digest, words) in enumerate(files):
            values = {"id": f"{job}-{index}", "index": index, "node": "2", "filename": name, "hash": digest}
            tx.execute(schema.outputs.insert().values(**common, **values, text=words, size=kept.size))
        for state, more in (
            (JobState.BOUND, {"backend": job, "runner": "r"}),
            (JobState.RUNNING, {}),
            (JobState.STORING, {}),
            (JobState.DONE, {"outputs_count": len(files)}),
        ):
            assert transitions.move(tx, job, state, **more) is not None

    await queue.store.write(write)
    return job


def exporter(queue: Queue, folder: Path | str, template: str = "{job}/{index}{ext}") -> Exporter:
    return Exporter(queue.store, queue.files, ExportSettings(str(folder), template))


async def states(queue: Queue) -> list[str]:
    order = select(schema.exports.c.state).order_by(schema.exports.c.created_at)
    return await queue.store.read(lambda connection: list(connection.execute(order).scalars()))


async def test_the_outputs_of_a_job_are_copied_once(queue: Queue, tmp_path: Path) -> None:
    mine = exporter(queue, tmp_path / "out")
    await mine.export_due()
    job = await done(queue, text="seven words")
    await mine.export_due()
    folder = tmp_path / "out" / job
    assert (folder / "000.png").read_bytes() == b"picture"
    assert (folder / "001.txt").read_text() == "seven words"
    (folder / "000.png").unlink()
    await mine.export_due()
    await exporter(queue, tmp_path / "out").export_due()
    assert not (folder / "000.png").exists()
    assert await states(queue) == ["done"]


async def test_jobs_from_before_a_destination_was_named_are_left(queue: Queue, tmp_path: Path) -> None:
    old = await done(queue)
    away = schema.jobs.update().where(schema.jobs.c.id == old).values(finished_at=1.0)
    await queue.store.write(lambda tx: tx.execute(away))
    await exporter(queue, tmp_path / "out").export_due()
    assert await states(queue) == []
    assert not (tmp_path / "out").exists()


async def test_a_destination_that_is_away_gets_the_outputs_later(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    mine = exporter(queue, tmp_path / "out")
    await mine.export_due()
    job = await done(queue)
    await mine.export_due()
    assert await states(queue) == ["waiting"]
    reason = select(schema.exports.c.reason)
    assert "out" in await queue.store.read(lambda connection: connection.execute(reason).scalar_one())
    (tmp_path / "out").unlink()
    await queue.store.write(lambda tx: tx.execute(update(schema.exports).values(next_at=0.0)))
    await exporter(queue, tmp_path / "out").export_due()
    assert (tmp_path / "out" / job / "000.png").read_bytes() == b"picture"
    assert await states(queue) == ["done"]


async def test_no_destination_means_nothing_is_noted(queue: Queue) -> None:
    await done(queue)
    await exporter(queue, "").export_due()
    assert await states(queue) == []


@pytest.mark.parametrize(("destination", "template"), [("ftp://x", "{job}"), ("/tmp/x", "{jbo}")])
async def test_settings_that_cannot_be_are_refused_at_once(queue: Queue, destination: str, template: str) -> None:
    with pytest.raises(UsageError):
        exporter(queue, destination, template)
