"""Outputs are fetched while their run goes on, and what counts is what is there at its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.events import Output, OutputKind
from comfyops.errors import OutputGoneError
from comfyops.jobs.collecting import Collection
from comfyops.jobs.files import Files
from comfyops.jobs.thumbnails import Thumbnails


class Server:
    """Serves a folder's files as ComfyUI does, and counts how it was asked."""

    def __init__(self, folder: Path, *, marks: bool = True) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.away = False
        self._marks = marks

    async def view(self, request: web.Request) -> web.StreamResponse:
        """/view."""
        path = self.folder / request.query["filename"]
        if self.away or not path.is_file():
            return web.Response(status=503 if self.away else 404)
        answer = web.FileResponse(path) if self._marks else web.Response(body=path.read_bytes())
        not_modified = self._marks and request.headers.get("If-None-Match", "").strip('"') in _mark(path)
        self.asked[request.method + (" unchanged" if not_modified else "")] += 1
        return answer


def _mark(path: Path) -> list[str]:
    stat = path.stat()
    return [f"{stat.st_mtime_ns:x}-{stat.st_size:x}"]


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[ComfyUI]:
    app = web.Application()
    app.add_routes([web.get("/view", server.view)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [place] = runner.addresses
    async with ComfyUI(f"http://127.0.0.1:{place[1]}") as client:
        yield client
    await runner.cleanup()


def output(name: str) -> Output:
    return Output("1", OutputKind.OTHER, name)


def collection(tmp_path: Path, *, lasting: bool = False) -> tuple[Collection, Files]:
    files = Files(tmp_path / "kept")
    return Collection(files, Thumbnails(tmp_path / "thumbnails", files), lasting=lasting), files


async def asked(server: Server) -> None:
    async with asyncio.timeout(20):
        while not server.asked["GET"]:  # noqa: ASYNC110  (another task asks)
            await asyncio.sleep(0.01)


async def fetched(collecting: Collection) -> None:
    """Until all that was begun is there, as it was then."""
    async with asyncio.timeout(20):
        await asyncio.wait(collecting._early.values())


async def test_what_is_unchanged_at_the_end_is_fetched_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    contents = {f"{number}.bin": bytes([number]) * (number * 300_000 + 5) for number in range(6)}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    all_ = [output(name) for name in contents]
    collecting, files = collection(tmp_path)
    async with serving(server) as client:
        collecting.begin(client, all_[:5])
        collecting.begin(client, all_[:5])  # told of twice
        await fetched(collecting)
        made = await collecting.finish(client, all_)
        assert await collecting.close() == []
    assert [item.output for item in made] == all_
    for item, data in zip(made, contents.values(), strict=True):
        assert item.kept is not None and files.path(item.kept.hash).read_bytes() == data
        assert item.kept.size == len(data)
    assert server.asked == {"GET": 6, "HEAD unchanged": 5}
    assert not list((tmp_path / "kept" / "incoming").iterdir())


async def test_what_a_later_node_changed_is_fetched_again_and_what_it_removed_is_gone(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for name in ("changed", "removed"):
        (tmp_path / name).write_bytes(b"first")
    collecting, files = collection(tmp_path)
    async with serving(server) as client:
        collecting.begin(client, [output("changed"), output("removed")])
        await fetched(collecting)
        (tmp_path / "changed").write_bytes(b"second")
        (tmp_path / "removed").unlink()
        [made] = await collecting.finish(client, [output("changed")])
        assert [item.output for item in await collecting.close()] == [output("changed"), output("removed")]
        assert made.kept is not None and files.path(made.kept.hash).read_bytes() == b"second"
        with pytest.raises(OutputGoneError):
            await collecting.finish(client, [output("changed"), output("removed")])


async def test_a_server_that_marks_no_versions_is_asked_again_for_everything(tmp_path: Path) -> None:
    server = Server(tmp_path, marks=False)
    (tmp_path / "a").write_bytes(b"first")
    collecting, files = collection(tmp_path)
    async with serving(server) as client:
        collecting.begin(client, [output("a")])
        await fetched(collecting)
        (tmp_path / "a").write_bytes(b"second")
        [made] = await collecting.finish(client, [output("a")])
        collecting.begin(client, [output("b")])  # for nothing, which is known now
        assert len(await collecting.close()) == 1
    assert server.asked == {"GET": 2}
    assert made.kept is not None and files.path(made.kept.hash).read_bytes() == b"second"


async def test_where_no_node_changes_files_nothing_is_asked_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / "a").write_bytes(b"first")
    collecting, _ = collection(tmp_path, lasting=True)
    async with serving(server) as client:
        collecting.begin(client, [output("a")])
        await collecting.finish(client, [output("a")])
    assert server.asked == {"GET": 1}


async def test_what_could_not_be_fetched_early_is_fetched_at_the_end(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.away = True
    (tmp_path / "a").write_bytes(b"there")
    collecting, _ = collection(tmp_path)
    async with serving(server) as client:
        collecting.begin(client, [output("a")])
        with pytest.raises(Exception, match="away"):
            await collecting.finish(client, [output("a")])
        server.away = False
        [made] = await collecting.finish(client, [output("a")])
        await collecting.close()
    assert made.kept is not None and made.kept.size == 5


async def test_what_is_not_wanted_any_more_leaves_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * 30_000_000)
    collecting, _ = collection(tmp_path)
    async with serving(server) as client:
        collecting.begin(client, [output("a")])
        await asked(server)
        await collecting.close()
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.parent.name == "incoming"]
