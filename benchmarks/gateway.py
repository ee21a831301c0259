"""What the gateway costs: each figure beside the same request sent to the server directly, in turn, in one run."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import quote
from urllib.request import Request, urlopen

import aiohttp

from benchmarks import graphs, passing
from benchmarks.server import comfyops, envelope
from benchmarks.server import server as running
from benchmarks.table import Row
from comfyops.testing import graphs as small
from comfyops.workflows import api_format

_VIEW = 20 * 1024 * 1024


@dataclass(frozen=True)
class Places:
    """The server, the gateway before it, a token for the gateway, the gateway's process, and what else passes on."""

    direct: str
    gateway: str
    token: str
    pid: int
    others: Mapping[str, str]

    def both(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Address and headers of the server and the gateway."""
        return {"direct": (self.direct, {}), "gateway": (self.gateway, self._who())}

    def every(self) -> dict[str, tuple[str, dict[str, str]]]:
        """The same, and of the others."""
        return {**self.both(), **{name: (url, self._who()) for name, url in self.others.items()}}

    def _who(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Taken:
    """What one place did: right answers per second beside direct ones in the same round, and median milliseconds."""

    share: float
    rate: float
    milliseconds: float


def measure(*, quick: bool, server: str | None) -> Iterator[Row]:
    """Requests, jobs, a large picture, progress, idle sockets; over the durable queue, and passed through."""
    if shutil.which("wrk") is None:
        print("wrk is not installed (apt-get install wrk): the gateway is not measured", file=sys.stderr)
        return
    for mode, how in ((), "durable queue"), (("--pass-through",), "passed through"):
        for row in _mode(mode, quick=quick, server=server):
            yield replace(row, what=f"{how}, {row.what}")


def _mode(mode: Sequence[str], *, quick: bool, server: str | None) -> Iterator[Row]:
    seconds, rounds = (1, 1) if quick else (2, 7)
    front = running(server)
    with front as (url, name), tempfile.TemporaryDirectory() as folder, _gateway(url, Path(folder), mode) as places:
        yield from _queue(places, name, seconds, rounds)
        yield from _pictures(places, name, seconds, rounds)
        yield from asyncio.run(_python(places, name, quick=quick))
    # to run jobs would take from the simulator's one thread what its answers need, and the more, the fewer it gets
    idle = running(server, "--fault", "dead-worker")
    with idle as (url, name), tempfile.TemporaryDirectory() as folder, _gateway(url, Path(folder), mode) as places:
        yield from _prompts(places, name if server else f"{name}, which runs none", Path(folder), seconds, rounds)


@contextmanager
def _gateway(url: str, home: Path, mode: Sequence[str]) -> Iterator[Places]:
    made = subprocess.run(
        [comfyops(), "auth", "token", "create", "bench", "--role", "artist", "--home", str(home), "--json"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    token = json.loads(made.stdout)["data"]["token"]
    arguments = [comfyops(), "serve", "--backend", url, "--port", "0", "--home", str(home), *mode, "--json"]
    arguments += ["--max-jobs", "1000000", "--max-requests", "1000000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = str(envelope(process.stdout)["data"]["url"])
            with passing.bare(url) as bare, passing.nginx(url, token) as nginx:
                others = {"bare pass-through": bare} | ({"nginx with auth_request": nginx} if nginx else {})
                yield Places(url, address, token, process.pid, others)
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
    places: dict[str, tuple[str, dict[str, str]]],
    path: str,
    seconds: int,
    rounds: int,
    connections: int,
    *more: str,
    after: Callable[[], object] = lambda: None,
) -> dict[str, Taken]:
    """One after the other, again and again: what else the machine does then falls on all of them.

    `after` each of them leaves the server as it was.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for url, headers in places.values():  # the first request proves the token, the first job asks for node types
        _wrk(url + path, headers, 1, connections, *more)
        after()
    for _ in range(rounds):
        for name, (url, headers) in places.items():
            found.setdefault(name, []).append(_wrk(url + path, headers, seconds, connections, *more))
            after()
    direct = [rate for rate, _ in found["direct"]]
    return {
        name: Taken(
            median(rate / beside for (rate, _), beside in zip(all_, direct, strict=True)),
            median(rate for rate, _ in all_),
            median(taken for _, taken in all_),
        )
        for name, all_ in found.items()
    }


def _beside(what: str, found: dict[str, Taken], server: str, goal: float) -> Iterator[Row]:
    """Rows of the gateway (whose goal is a share of the direct rate) and of the others, for comparison."""
    for name, taken in found.items():
        if name != "direct":
            how = f"{taken.rate:,.0f}/s, {taken.share:.2f} of direct {found['direct'].rate:,.0f}/s ({server})"
            goal_of = 1 / goal if name == "gateway" else None
            yield Row("gateway", f"{what}: direct / {name}", 1 / taken.share, "x", how, goal_of)


def _queue(places: Places, name: str, seconds: int, rounds: int) -> Iterator[Row]:
    many = _in_turn(places.every(), "/queue", seconds, rounds, 32)
    yield from _beside("GET /queue, 32 connections", many, name, 0.4)
    one = _in_turn(places.both(), "/queue", seconds, rounds, 1)
    added = one["gateway"].milliseconds - one["direct"].milliseconds
    how = f"p50 {one['gateway'].milliseconds:.3f} ms against {one['direct'].milliseconds:.3f} ms"
    yield Row("gateway", "GET /queue, 1 connection: added", added, "ms", how, 0.25)


def _prompts(places: Places, name: str, folder: Path, seconds: int, rounds: int) -> Iterator[Row]:
    body = json.dumps({"prompt": api_format.dump(small.picture(7)), "client_id": "bench"})
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body}]==]\n"
    )
    found = _in_turn(places.every(), "/prompt", seconds, rounds, 32, "-s", str(script), after=partial(_clear, places))
    yield from _beside("POST /prompt, 32 connections", found, name, 0.6)


def _clear(places: Places) -> None:
    """Take every waiting job out of the queues: who comes next is not to pay for them."""
    for url, headers in places.both().values():
        request = Request(f"{url}/queue", b'{"clear": true}', {"Content-Type": "application/json", **headers})
        with urlopen(request) as answer:
            answer.read()


def _pictures(places: Places, name: str, seconds: int, rounds: int) -> Iterator[Row]:
    picture = os.urandom(_VIEW)
    saved = {place: asyncio.run(_uploaded(*where, picture)) for place, where in places.both().items()}
    urls = {
        place: (
            f"{url}/view?filename={quote(saved['gateway' if place == 'gateway' else 'direct'])}&type=input",
            headers,
        )
        for place, (url, headers) in places.every().items()
    }
    yield from _beside("GET /view, 20 MiB", _in_turn(urls, "", seconds, rounds, 1), name, 0.9)


async def _uploaded(url: str, headers: dict[str, str], picture: bytes) -> str:
    """The name of a picture at a place that took it."""
    form = aiohttp.FormData()
    form.add_field("image", io.BytesIO(picture), filename="comfyops-bench.png", content_type="image/png")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/upload/image", data=form, headers=headers) as response,
    ):
        return str((await response.json())["name"])


async def _python(places: Places, name: str, *, quick: bool) -> list[Row]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        nodes, repeats = (50, 1) if quick else (500, 7)
        return [
            await _stream(session, places, name, "one output", graphs.chain(nodes), repeats),
            await _stream(session, places, name, f"{nodes // 2} outputs", graphs.wide(nodes), repeats),
            await _sockets(session, places, 50 if quick else 1000),
        ]


async def _stream(
    session: aiohttp.ClientSession, places: Places, name: str, kind: str, graph: graphs.Prompt, repeats: int
) -> Row:
    sizes: list[int] = []

    async def run(url: str, headers: dict[str, str]) -> None:
        prompt = copy.deepcopy(graph)
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
    what = f"progress of {len(graph)} nodes, {kind}: gateway / direct, time"
    return Row("gateway", what, ratio, "x", how, 1 / 0.8)


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
