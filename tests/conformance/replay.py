"""A simulator under test, and the means to ask it what was once asked of a real server."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image
from yarl import URL

from comfyops.simulator import Simulator, SimulatorSettings

CHECKPOINTS = ("sd15_random_fp16.safetensors", "sd15_tiny_random_fp16.safetensors")
MODELS = {
    "0.33.0": {"checkpoints": CHECKPOINTS, "diffusion_models": ("qwen_image_1layer_random.safetensors",)},
    "0.8.0": {"checkpoints": CHECKPOINTS},
}
"""The model files of the servers that were recorded."""

IMAGE_PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "t", "images": ["1", 0]}},
}


def picture(bytes_: int, size: int = 8) -> bytes:
    """A small PNG; the recorded sizes tell which of the three pictures was sent: two plain ones and a mask."""
    if bytes_ == 78:
        image = Image.new("RGBA", (size, size), (0, 0, 0, 128))
    else:
        image = Image.new("RGB", (size, size), (255, 0, 0) if bytes_ == 75 else (0, 0, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Socket:
    """A websocket whose messages are collected as they come, in the form of the recordings."""

    ws: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        """Collect until the socket closes."""
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.messages.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.messages.append(binary(message.data))

    def take(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        taken, self.messages[:] = list(self.messages), []
        return taken


def binary(data: bytes) -> dict[str, Any]:
    """A binary message as the recordings describe it."""
    event = struct.unpack(">I", data[:4])[0]
    if event == 4:
        length = struct.unpack(">I", data[4:8])[0]
        return {"binary": True, "event_type": 4, "metadata": json.loads(data[8 : 8 + length])}
    kind = {1: "JPEG", 2: "PNG"}[struct.unpack(">I", data[4:8])[0]]
    return {"binary": True, "event_type": event, "image_format": kind}


@dataclass
class Server:
    """One simulator and a client for it."""

    simulator: Simulator
    http: aiohttp.ClientSession
    sockets: list[Socket] = field(default_factory=list)

    async def send(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do a recorded request and give the answer in the form of the recordings."""
        url = URL(self.simulator.url + request["path"], encoded=True)
        port = str(self.simulator.port)
        headers = {
            key: value.replace("8401", port).replace("8402", port).replace("8403", port).replace("8188", port)
            for key, value in request.get("headers", {}).items()
        }
        data = _body(request, headers)
        if isinstance(data, bytes) and len(data) > 500_000:
            data = io.BytesIO(data)
        async with self.http.request(request["method"], url, headers=headers, data=data) as response:
            body = await response.read()
            answer: dict[str, Any] = {"status": response.status, "headers": dict(response.headers)}
        try:
            answer["json"] = json.loads(body) if body else None
        except ValueError:
            with contextlib.suppress(UnicodeDecodeError):
                answer["body"] = body.decode()
        if not body:
            answer.pop("json")
            answer["body"] = ""
        return answer

    async def post(self, prompt: Any, **more: Any) -> dict[str, Any]:
        """Submit a prompt."""
        json_ = {"prompt": prompt, **more}
        return await self.send({"method": "POST", "path": "/prompt", "json": json_})

    async def get(self, path: str) -> Any:
        """The JSON answer of a GET."""
        return (await self.send({"method": "GET", "path": path})).get("json")

    async def idle(self, limit: float = 20) -> None:
        """Wait until nothing runs or waits."""
        await self.until(lambda queue: not queue["queue_running"] and not queue["queue_pending"], limit)

    async def busy(self, limit: float = 20) -> None:
        """Wait until something runs."""
        await self.until(lambda queue: bool(queue["queue_running"]), limit)

    async def until(self, test: Any, limit: float) -> None:
        """Poll the queue until it passes a test."""
        end = time.monotonic() + limit
        while not test(await self.get("/queue")):
            if time.monotonic() > end:
                raise TimeoutError("the queue did not get there")
            await asyncio.sleep(0.005)

    async def socket(self, client_id: str = "") -> Socket:
        """Open a websocket, and wait for its first message."""
        query = f"?clientId={client_id}" if client_id else ""
        socket = Socket(await self.http.ws_connect(f"{self.simulator.url}/ws{query}"))
        self.sockets.append(socket)
        socket_task = asyncio.create_task(socket.listen())
        self._tasks.append(socket_task)
        await settled(socket, 1)
        return socket

    _tasks: list[asyncio.Task[None]] = field(default_factory=list)


async def settled(socket: Socket, count: int, limit: float = 10) -> None:
    """Wait for so many messages."""
    end = time.monotonic() + limit
    while len(socket.messages) < count and time.monotonic() < end:  # noqa: ASYNC110 (polling, with a deadline)
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serve(version: str, **settings: Any) -> AsyncIterator[Server]:
    """A simulator of a version, as weak as the real server, with the recorded model files."""
    chosen = {"models": MODELS[version], "faithful_poison": True} | settings
    simulator = Simulator(SimulatorSettings(port=0, version=version, **chosen))
    async with simulator, aiohttp.ClientSession() as http:
        server = Server(simulator, http)
        try:
            yield server
        finally:
            for task in server._tasks:
                task.cancel()


def _body(request: dict[str, Any], headers: dict[str, str]) -> Any:
    if "multipart" in request:
        return _form(request["multipart"])
    if "json" in request:
        headers.setdefault("Content-Type", "application/json")
        return json.dumps(request["json"]).encode("utf-8", "surrogatepass")
    body = request.get("body")
    if isinstance(body, dict):
        if "hex_head" in body:
            return bytes.fromhex(body["hex_head"])
        headers.pop("Content-Encoding", None)
        headers["Content-Encoding"] = "gzip"
        return gzip.compress(json.dumps({"prompt": IMAGE_PROMPT}).encode())
    return body.encode() if isinstance(body, str) else None


def _form(recorded: dict[str, Any]) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    extra = dict(recorded["extra"] or {})
    count = recorded["bytes"]
    if count is not None:
        form.add_field(
            recorded["field"],
            io.BytesIO(_content(recorded["filename"], count, recorded.get("size", 8))),
            filename=recorded["filename"],
        )
    for key, value in extra.items():
        form.add_field(key, value, content_type="text/plain")
    if count is None:
        form.add_field("unused", "", content_type="text/plain")
    return form


_TEXTS = {"note.txt": b"hello", "x.html": b"<script>alert(1)</script>"}


def _content(name: str, count: int, size: int) -> bytes:
    if count in (75, 76, 78):
        return picture(count, size)
    return _TEXTS.get(name) or b"x" * count
