"""ComfyUI-Manager of both generations, simulated by a small server with its routes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from comfyops.errors import DownloadError, UnsupportedError
from comfyops.models import manager
from comfyops.models.sources import Web
from comfyops.models.trust import Trust, parse_hosts
from tests.unit.models.shelf import entry

LISTED = [
    {"name": "A", "type": "lora", "base": "x", "save_path": "loras", "filename": "a.safetensors", "url": "https://x/a"},
    {
        "name": "C",
        "type": "clip",
        "base": "x",
        "save_path": "clip/t5",
        "filename": "c.safetensors",
        "url": "https://x/c",
    },
]


class Server:
    """What it has, what it was asked, and how it answers. Simulated."""

    def __init__(self, prefix: str, *, refuse: int = 0, looks: int = 2, lists: bool = True) -> None:
        self.prefix, self.refuse, self.looks, self.lists = prefix, refuse, looks, lists
        self.folders: dict[str, list[str]] = {"loras": [], "text_encoders": []}
        self.queue: list[dict[str, Any]] = []
        self.started = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.startswith("/models/"):
            folder = path.removeprefix("/models/")
            return (200, self.folders[folder]) if folder in self.folders else (404, None)
        if not path.startswith(f"{self.prefix}/") or (not self.prefix and path.startswith("/v2")):
            return 404, None
        route = path.removeprefix(f"{self.prefix}/").partition("?")[0]
        if route == "externalmodel/getlist" and not self.lists:
            return 404, None
        if route == "manager/queue/install_model":
            self.queue.append(body)
            return (self.refuse, None) if self.refuse else (200, None)
        if route == "manager/queue/start":
            return self._start(method)
        if route == "manager/queue/status":
            return 200, self._status()
        return {"manager/version": (200, "V"), "externalmodel/getlist": (200, {"models": LISTED})}.get(
            route, (404, None)
        )

    def _start(self, method: str) -> tuple[int, Any]:
        if not self.prefix and method == "POST":
            return 405, None  # older ones take GET
        self.started = method
        return 200, None

    def _status(self) -> dict[str, Any]:
        self.looks -= 1
        if self.looks <= 0 and self.started:
            for item in self.queue:
                folder = {"lora": "loras", "clip": "text_encoders"}.get(item["type"], item["type"])
                below = item["save_path"].partition("/")[2] if not self.lists else ""
                self.folders[folder].append(f"{below}/{item['filename']}".lstrip("/"))
        return {"is_processing": self.looks > 0}


@contextmanager
def running(server: Server) -> Iterator[tuple[str, Web]]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, value = server.answer(self.command, self.path, body)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _do

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{http.server_address[1]}"
    own, plain = parse_hosts(url)
    try:
        yield url, Web(Trust(own, plain), attempts=1)
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.mark.parametrize(("prefix", "method"), [("/v2", "POST"), ("", "GET")])
def test_a_listed_model_is_installed_and_seen(prefix: str, method: str) -> None:
    server = Server(prefix)
    with running(server) as (url, web):
        (done,) = manager.find(url, web).install([entry()], timeout=20, every=0.01)
    assert done.there and server.started == method
    assert server.queue[0]["url"] == "https://x/a" and server.queue[0]["ui_id"] == "loras/a.safetensors"


def test_one_that_keeps_no_list_is_told_the_address_itself() -> None:
    server = Server("/v2", lists=False)
    known = entry("style/own.safetensors", urls=("https://x/own.safetensors",))
    with running(server) as (url, web):
        (done,) = manager.find(url, web).install([known], timeout=20, every=0.01)
        (nowhere,) = manager.find(url, web).install([entry("b.safetensors", urls=())], timeout=20, every=0.01)
    (asked,) = server.queue
    assert (asked["save_path"], asked["filename"]) == ("loras/style", "own.safetensors") and done.there
    assert asked["url"] == "https://x/own.safetensors" and asked["type"] == "loras"
    assert not nowhere.there and nowhere.why == "no address of it is known"


def test_what_is_there_is_not_asked_for_and_what_is_not_listed_is_said() -> None:
    server = Server("/v2")
    server.folders["loras"] = ["a.safetensors"]
    with running(server) as (url, web):
        done = manager.find(url, web).install([entry(), entry("b.safetensors")], timeout=20, every=0.01)
    assert [(item.there, item.why) for item in done] == [(True, ""), (False, "it is not in ComfyUI-Manager's own list")]
    assert server.queue == [] and not server.started


@pytest.mark.parametrize(("status", "words"), [(403, "security level"), (500, "answered 500")])
def test_a_refusal_is_said(status: int, words: str) -> None:
    with running(Server("/v2", refuse=status)) as (url, web):
        (done,) = manager.find(url, web).install([entry("c.safetensors", folder="text_encoders")], timeout=5)
    assert not done.there and words in done.why


def test_a_queue_that_never_ends_is_not_waited_for_for_ever() -> None:
    with running(Server("/v2", looks=10**6)) as (url, web):
        (done,) = manager.find(url, web).install([entry()], timeout=0.1, every=0.01)
    assert not done.there and "see its log" in done.why


def test_a_server_without_a_manager_and_none_at_all_are_said() -> None:
    with running(Server("/other")) as (url, web), pytest.raises(UnsupportedError, match="has no ComfyUI-Manager"):
        manager.find(url, web)
    with pytest.raises(DownloadError):
        manager.find(url, web)
