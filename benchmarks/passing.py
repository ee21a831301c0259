"""What the gateway is measured beside: a pass-through of the same stack that checks nothing, and nginx that only
compares one token.

`python -m benchmarks.passing URL` passes everything on to URL; it prints its own address when it is ready.
"""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from comfyops.gateway.connection import Connection
from comfyops.gateway.upstream import Upstream

_HOP = (b"host", b"connection", b"authorization", b"transfer-encoding")
_NGINX = """daemon off; worker_processes 1; error_log stderr crit; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 200m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream server {{ server {server}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            auth_request /asked; proxy_max_temp_file_size 0;
            proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
        location = /asked {{ internal; if ($http_authorization != "Bearer {token}") {{ return 401; }} return 204; }}
    }}
}}
"""


@contextmanager
def bare(url: str) -> Iterator[str]:
    """The pass-through in a process of its own; gives its address."""
    arguments = [sys.executable, "-m", "benchmarks.passing", url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def nginx(url: str, token: str) -> Iterator[str | None]:
    """nginx with auth_request before a server; gives its address, None where nginx is not installed."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port, file = _free_port(), Path(folder) / "nginx.conf"
        server = url.removeprefix("http://")
        file.write_text(_NGINX.format(folder=folder, server=server, port=port, token=token))
        with subprocess.Popen([found, "-p", folder, "-c", str(file)]) as process:
            try:
                _until_open(port)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _until_open(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("nginx did not start")


class _Passing:
    def __init__(self, url: str) -> None:
        self._upstream = Upstream(url)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] not in _HOP]
        named = dict(scope["headers"])
        query = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        has_body = b"transfer-encoding" in named or named.get(b"content-length", b"0") != b"0"
        body = _stream(receive) if has_body else None
        answer = await self._upstream.send(scope["method"], target, headers, body)
        back = [pair for pair in answer.headers if pair[0] not in (b"connection", b"transfer-encoding")]
        await send({"type": "http.response.start", "status": answer.status, "headers": back})
        whole = answer.at_hand()
        if whole is None:
            async for part in answer.chunks():
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": whole or b""})


async def _stream(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _serve(url: str) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    connection: Any = functools.partial(Connection, leave=lambda: None)
    config = uvicorn.Config(
        _Passing(url), lifespan="off", log_config=None, log_level="critical", access_log=False, http=connection
    )
    await uvicorn.Server(config).serve(sockets=[sock])


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
