"""A small real server with ComfyUI's routes that does exactly what a test tells it, odd things included."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import WSMsgType, web

from comfyops.backends.events import Event, Finished
from comfyops.backends.watching import Pace
from comfyops.testing import graphs
from comfyops.workflows import api_format

QUICK = Pace(
    lively=0.5,
    quiet=0.15,
    blind=0.02,
    blind_most=0.1,
    hint=0.02,
    ending=0.01,
    silence=0.2,
    away=1.0,
    stop=20.0,
)
"""A pace that makes tests short."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedServer:
    """Queue, history and files are plain fields. `replies[(method, path)]` replaces the answer of a route."""

    def __init__(self) -> None:
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self.history: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.replies: dict[tuple[str, str], Handler] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[dict[str, Any]] = []
        self.sockets: list[tuple[str, web.WebSocketResponse]] = []
        self.socket_log: list[str] = []
        self.flags = True
        self.numbers = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "ScriptedServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(client_max_size=100 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        for _, socket in list(self.sockets):
            await socket.close()
        await self._runner.cleanup()  # type: ignore[union-attr]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def paths(self, method: str = "GET") -> list[str]:
        return [path for used, path, _ in self.requests if used == method]

    def entry(self, run_id: str, outputs: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
        """A history entry of a run that went well."""
        messages = [["execution_start", {"timestamp": 1000}], ["execution_cached", {"nodes": []}]]
        messages.append(["execution_success", {"timestamp": 2000}])
        images = {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
        return {
            "prompt": [0, run_id, api_format.dump(graphs.picture(1)), {}, ["2"]],
            "outputs": images if outputs is None else outputs,
            "status": {"status_str": "success", "completed": True, "messages": messages},
            **extra,
        }

    def finish(self, run_id: str) -> None:
        """Move a run from the queue into the history, in one step."""
        self.running = [item for item in self.running if item[1] != run_id]
        self.pending = [item for item in self.pending if item[1] != run_id]
        self.history[run_id] = self.entry(run_id)

    def start_run(self, run_id: str) -> None:
        """Move a run from pending to running."""
        self.running += [item for item in self.pending if item[1] == run_id]
        self.pending = [item for item in self.pending if item[1] != run_id]

    async def say(self, kind: str, client: str | None = None, **data: Any) -> None:
        """Send a message to the newest socket of a client, or of anybody."""
        await self.send_text(json.dumps({"type": kind, "data": data}), client)

    async def send_text(self, text: str, client: str | None = None) -> None:
        await self._socket(client).send_str(text)

    async def send_bytes(self, data: bytes, client: str | None = None) -> None:
        await self._socket(client).send_bytes(data)

    def _socket(self, client: str | None) -> web.WebSocketResponse:
        return [socket for name, socket in self.sockets if client in (None, name)][-1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.headers)))
        reply = self.replies.get((request.method, request.path))
        if reply is not None:
            return await reply(request)
        return await self._usual(request)

    async def _usual(self, request: web.Request) -> web.StreamResponse:
        match request.method, [unquote(part) for part in request.rel_url.raw_path.split("/")[1:]]:
            case "GET", ["ws"]:
                return await self._ws(request)
            case "POST", ["prompt"]:
                return await self.queue_prompt(request)
            case "GET", ["queue"]:
                return web.json_response({"queue_running": self.running, "queue_pending": self.pending})
            case "GET", ["history", run_id]:
                return web.json_response({key: self.history[key] for key in self.history if key == run_id})
            case "GET" | "HEAD", ["view"]:
                name = request.query["filename"]
                return web.Response(body=self.files[name]) if name in self.files else web.Response(status=404)
        return web.Response(status=404, text="404: Not Found")

    async def queue_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        number, self.numbers = self.numbers, self.numbers + 1
        run_id = body["prompt_id"]
        self.pending.append([number, run_id, body["prompt"], {"client_id": body["client_id"]}, ["2"]])
        return web.json_response({"prompt_id": run_id, "number": number, "node_errors": {}})

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId", "")
        self.sockets.append((client, socket))
        self.socket_log.append("open")
        await socket.send_str(json.dumps({"type": "status", "data": {"status": {}, "sid": client}}))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and "feature_flags" in message.data and self.flags:
                    answer = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
                    await socket.send_str(json.dumps(answer))
        finally:
            self.socket_log.append("close")
            self.sockets = [pair for pair in self.sockets if pair[1] is not socket]
        return socket


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the other side of a socket
            await asyncio.sleep(0.005)


class Follower:
    """Collects the events of a watch in the background."""

    def __init__(self, events) -> None:
        self.events: list[Event] = []
        self.task = asyncio.create_task(self._follow(events))

    async def _follow(self, events) -> None:
        async for event in events:
            self.events.append(event)

    async def end(self, seconds: float = 5.0) -> Finished:
        """The Finished that the watch ended with, or the error it raised."""
        async with asyncio.timeout(seconds):
            await self.task
        assert [type(event) for event in self.events].count(Finished) == 1
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last


def hang(seconds: float = 30.0) -> Handler:
    """An answer that does not come."""

    async def reply(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response()

    return reply


def answer(status: int = 200, text: str | None = "", **options: Any) -> Handler:
    """An answer with this status and text; `data` = JSON instead."""

    async def reply(request: web.Request) -> web.StreamResponse:
        if "data" in options:
            return web.json_response(options["data"], status=status)
        return web.Response(status=status, text=text, **options)

    return reply


async def break_off(request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of the answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"half": ')
    request.transport.close()  # type: ignore[union-attr]
    return response


async def disconnect(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    request.transport.close()  # type: ignore[union-attr]
    return web.Response()
