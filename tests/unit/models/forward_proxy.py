"""A real proxy for the tests: CONNECT and whole addresses of http, with a login; names lead where the test says."""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class ForwardProxy:
    """Runs between `with` and its end. `heads` are the first lines of what it was asked, `seen` all bytes that it
    could read.
    """

    def __init__(self, leads: Mapping[str, int], login: str = "") -> None:
        self.leads, self.heads, self.seen = leads, list[str](), bytearray()
        self.login = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    proxy.serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def __enter__(self) -> ForwardProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, client: socket.socket) -> None:
        """Answer one client."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = client.recv(1)
            if not piece:
                return
            head += piece
        self.seen += head
        line, *fields = head.decode().rstrip().split("\r\n")
        self.heads.append(line)
        method, target, _ = line.split(" ")
        if self.login and f"Proxy-Authorization: {self.login}" not in fields:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        port = self.leads.get(f"{parts.hostname}:{parts.port or 80}")
        if port is None:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port)) as far:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far.sendall(head)
            self._pump(client, far)

    def _pump(self, client: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(far, client), daemon=True)
        back.start()
        _copy(client, far, self.seen)
        back.join()


def _copy(source: socket.socket, to: socket.socket, seen: bytearray | None = None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if seen is not None:
                seen += data
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
