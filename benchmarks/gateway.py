"""What the gateway costs: each figure beside the same request sent to the server directly, in turn, in one run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks import graphs
from benchmarks.server import comfyops, envelope
from benchmarks.server import server as running
from benchmarks.table import Row
from comfyops.testing import graphs as small
from comfyops.workflows import api_format

_BARE = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"42")]})
    await send({"type": "http.response.body", "body": b"x" * 42})
"""
_VIEW = 20 * 1024 * 1024


@dataclass(frozen=True)
class Places:
    """The server, the gateway before it, a token for the gateway, and the gateway's process."""

    direct: str
    gateway: str
    token: str
    pid: int

    def both(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Address and headers of each."""
        return {"direct": (self.direct, {}), "gateway": (self.gateway, {"Authorization": f"Bearer {self.token}"})}


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Requests, jobs, a large picture, a stream of progress, idle sockets."""
    if shutil.which("wrk") is None:
        print("wrk is not installed (apt-get install wrk): the gateway is not measured", file=sys.stderr)
        return
    seconds, rounds = (1, 1) if quick else (3, 3)
    with running(server) as (url, name), tempfile.TemporaryDirectory() as folder, _gateway(url, Path(folder)) as places:
        yield from _queue(places, name, seconds, rounds)
        yield from _prompts(places, name, Path(folder), seconds, rounds)
        yield from asyncio.run(_python(places, name, quick=quick))


@contextmanager
def _gateway(url: str, home: Path) -> Iterator[Places]:
    made = subprocess.run(
        [comfyops(), "auth", "token", "create", "bench", "--role", "artist", "--home", str(home), "--json"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    token = json.loads(made.stdout)["data"]["token"]
    arguments = [comfyops(), "serve", "--backend", url, "--port", "0", "--home", str(home), "--json"]
    arguments += ["--max-jobs", "1000000", "--max-requests", "1000000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = str(envelope(process.stdout)["data"]["url"])
            yield Places(url, address, token, process.pid)
        finally:
            process.terminate()


def _wrk(url: str, headers: dict[str, str], seconds: int, connections: int, *more: str) -> tuple[float, float]:
    """Right answers per second, and median milliseconds."""
    options = [item for name, value in headers.items() for item in ("-H", f"{name}: {value}")]
    line = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more, *options, url]
    out = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if wrong:
        raise AssertionError(f"{wrong[1]} answers of {url} were refusals")
    rate, taken = re.search(r"Requests/sec:\s+([\d.]+)", out), re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    assert rate is not None and taken is not None
    return float(rate[1]), float(taken[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[taken[2]]


def _in_turn(
    places: Places, path: str, seconds: int, rounds: int, connections: int, *more: str
) -> dict[str, tuple[float, float]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for url, headers in places.both().values():  # the first request proves the token, the first job asks for node types
        _wrk(url + path, headers, 1, connections, *more)
    for _ in range(rounds):
        for name, (url, headers) in places.both().items():
            found.setdefault(name, []).append(_wrk(url + path, headers, seconds, connections, *more))
    return {name: (median(item[0] for item in all_), median(item[1] for item in all_)) for name, all_ in found.items()}


def _queue(places: Places, name: str, seconds: int, rounds: int) -> Iterator[Row]:
    bare = _bare(seconds)
    many = _in_turn(places, "/queue", seconds, rounds, 32)
    direct, through = many["direct"][0], many["gateway"][0]
    how = f"{through:,.0f}/s, {through / direct:.2f} of direct {direct:,.0f}/s ({name}); bare uvicorn {bare:,.0f}/s"
    yield Row("gateway", "GET /queue, 32 connections: direct / gateway", direct / through, "x", how, 2.5)
    one = _in_turn(places, "/queue", seconds, rounds, 1)
    how = f"p50 {one['gateway'][1]:.3f} ms against {one['direct'][1]:.3f} ms"
    yield Row("gateway", "GET /queue, 1 connection: added", one["gateway"][1] - one["direct"][1], "ms", how, 0.25)


def _prompts(places: Places, name: str, folder: Path, seconds: int, rounds: int) -> Iterator[Row]:
    body = json.dumps({"prompt": api_format.dump(small.picture(7)), "client_id": "bench"})
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body}]==]\n"
    )
    found = _in_turn(places, "/prompt", seconds, rounds, 8, "-s", str(script))
    direct, through = found["direct"][0], found["gateway"][0]
    how = f"{through:,.0f}/s, {through / direct:.2f} of direct {direct:,.0f}/s, validated twice ({name})"
    yield Row("gateway", "POST /prompt: direct / gateway", direct / through, "x", how, 1 / 0.6)


def _bare(seconds: int) -> float:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "bare.py").write_text(_BARE)
        line = [
            sys.executable,
            "-m",
            "uvicorn",
            "bare:app",
            "--port",
            "18399",
            "--log-level",
            "critical",
            "--no-access-log",
        ]
        process = stack.enter_context(subprocess.Popen(line, cwd=folder))
        stack.callback(process.terminate)
        asyncio.run(_until_up("http://127.0.0.1:18399"))
        return _wrk("http://127.0.0.1:18399/", {}, seconds, 32)[0]


async def _until_up(url: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            try:
                await (await session.get(url)).read()
                return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def _python(places: Places, name: str, *, quick: bool) -> list[Row]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return [
            await _pictures(session, places, name, 2 if quick else 15),
            await _stream(session, places, name, 50 if quick else 500, 1 if quick else 3),
            await _sockets(session, places, 50 if quick else 1000),
        ]


async def _pictures(session: aiohttp.ClientSession, places: Places, name: str, repeats: int) -> Row:
    data, url, headers = os.urandom(_VIEW), *places.both()["gateway"]
    form = aiohttp.FormData()
    form.add_field("image", data, filename="comfyops-bench.png", content_type="image/png")
    async with session.post(f"{url}/upload/image", data=form, headers=headers) as response:
        saved = (await response.json())["name"]

    async def get(url: str, headers: dict[str, str]) -> None:
        async with session.get(f"{url}/view", params={"filename": saved, "type": "input"}, headers=headers) as response:
            size = sum([len(part) async for part in response.content.iter_any()])
        if size != _VIEW:
            raise AssertionError(f"/view gave {size} bytes")

    taken = await _taken(places, get, repeats)
    rate = {key: _VIEW / 1e6 / value for key, value in taken.items()}
    beside = f"{rate['gateway'] / rate['direct']:.2f} of direct {rate['direct']:,.0f} MB/s"
    how = f"{rate['gateway']:,.0f} MB/s, {beside} ({name})"
    return Row(
        "gateway", "GET /view, 20 MiB: gateway / direct, time", taken["gateway"] / taken["direct"], "x", how, 1 / 0.9
    )


async def _stream(session: aiohttp.ClientSession, places: Places, name: str, nodes: int, repeats: int) -> Row:
    sizes: list[int] = []

    async def run(url: str, headers: dict[str, str]) -> None:
        prompt = graphs.wide(nodes)
        for node in prompt.values():
            if "color" in node["inputs"]:
                node["inputs"]["color"] = small.any_color()
        async with session.ws_connect(f"{url}/ws?clientId=bench", headers=headers, max_msg_size=0) as socket:
            await socket.receive()
            async with session.post(
                f"{url}/prompt", json={"prompt": prompt, "client_id": "bench"}, headers=headers
            ) as sent:
                sent.raise_for_status()
            size = 0
            async for message in socket:
                size += len(message.data)
                if message.type is aiohttp.WSMsgType.TEXT and '"node": null' in message.data[:120]:
                    break
        sizes.append(size)

    taken = await _taken(places, run, repeats)
    how = f"{max(sizes) / 1e6:.1f} MB in {taken['gateway']:.2f} s, direct {taken['direct']:.2f} s ({name})"
    ratio = taken["gateway"] / taken["direct"]
    return Row("gateway", f"progress of {nodes} nodes: gateway / direct, time", ratio, "x", how, 1 / 0.8)


async def _taken(
    places: Places, work: Callable[[str, dict[str, str]], Awaitable[None]], repeats: int
) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in places.both()}
    for number in range(repeats + 1):
        for name, (url, headers) in places.both().items():
            began = time.perf_counter()
            await work(url, headers)
            if number:  # the first one warms up
                found[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in found.items()}


async def _sockets(session: aiohttp.ClientSession, places: Places, count: int) -> Row:
    url, headers = places.both()["gateway"]
    before = _memory(places.pid)
    sockets = []
    for number in range(count):
        sockets.append(await session.ws_connect(f"{url}/ws?clientId=bench{number}", headers=headers))
    await asyncio.gather(*(socket.receive() for socket in sockets))
    grown = _memory(places.pid) - before
    await asyncio.gather(*(socket.close() for socket in sockets))
    how = f"resident memory of the gateway grew from {before:.0f} MB by so much"
    return Row("gateway", f"{count} idle websockets", grown, "MB", how, 150.0)


def _memory(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
