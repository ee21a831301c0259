"""What the two servers of the simulated hub answer (see model_hub.py)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from comfyops.testing.model_hub import Asked, HubFile, ModelHub

_CHUNK = 1 << 20
_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_TICK = 0.01
_SLICE = 256 * 1024  # sent at once where the connection is throttled


class Routes(BaseHTTPRequestHandler):
    """What both servers have in common."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: ClassVar[ModelHub]
    role: ClassVar[str]
    further: Mapping[str, str] = MappingProxyType({})  # headers that are sent with a file

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written; `ModelHub.requests` has it."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def do_POST(self) -> None:
        """Answer; only paths-info takes one."""
        self._answer()

    def _answer(self) -> None:
        if self.hub.faults.latency:
            time.sleep(self.hub.faults.latency)
        wanted = self.hub.next_status(self.role)
        if wanted is not None:
            self.say(wanted[0], wanted[1])
        else:
            self.route(urlsplit(self.path).path)

    def route(self, path: str) -> None:
        """Answer a request whose path is given."""
        raise NotImplementedError

    def say(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """A whole answer."""
        self.head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)
        self.note(status, 0)

    def say_json(self, value: object, status: int = 200) -> None:
        """A whole answer of JSON."""
        self.say(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def note(self, status: int, sent: int) -> None:
        """Remember what was asked."""
        token = self.headers.get("Authorization")
        ranged = self.headers.get("Range")
        self.hub.note(Asked(self.role, self.command, self.path, ranged, token, status, sent))

    def send_file(self, file: HubFile, etag: str | None) -> None:
        """A file or the range of it that was asked for, with the faults that concern bodies."""
        start, end, status = self._range(file, etag)
        faults = self.hub.faults
        headers = {"Content-Length": str(end - start), "Content-Type": "application/octet-stream", **self.further}
        if not faults.ignore_range:
            headers["Accept-Ranges"] = "bytes"
        if etag and not faults.no_validators:
            headers["ETag"] = etag
        if status == 206:
            shift = 1 if faults.wrong_content_range else 0
            headers["Content-Range"] = f"bytes {start + shift}-{end - 1 + shift}/{file.size}"
        if status == 416:
            headers = {"Content-Length": "0", "Content-Range": f"bytes */{file.size}"}
        self.head(status, headers)
        sent = _Body(self, file).send(start, end) if self.command == "GET" and status != 416 else 0
        self.note(status, sent)

    def _range(self, file: HubFile, etag: str | None) -> tuple[int, int, int]:
        asked = _ONE_RANGE.fullmatch(self.headers.get("Range", "").strip())
        condition = self.headers.get("If-Range")
        if asked is None or self.hub.faults.ignore_range or (condition and condition != etag):
            return 0, file.size, 200  # as RFC 9110 has it for what is no range too
        first, last = asked.groups()
        if not first:  # the last so many bytes
            start, end = max(0, file.size - int(last or 0)), file.size
        else:
            start, end = int(first), min(file.size, int(last) + 1 if last else file.size)
        return (start, end, 206) if start < end else (0, 0, 416)


class HubRoutes(Routes):
    """The hub: names, sizes, hashes, and where the bytes are."""

    role = "hub"

    def route(self, path: str) -> None:
        """Answer by the kind of the address."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.faults.redirects:
            self.say(302, {"Location": self.path})
        elif path.startswith("/plain/"):
            self._plain(unquote(path.removeprefix("/plain/")))
        elif path.startswith("/api/download/models/") or path.startswith("/api/v1/model-versions/"):
            self._civitai(path)
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/").split("/"), body)
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self.say(404)

    def _welcome(self) -> bool:
        """Whether the hub lets this one in; says why not otherwise."""
        faults = self.hub.faults
        if not faults.gated or (faults.token and self.headers.get("Authorization") == f"Bearer {faults.token}"):
            return True
        status = 403 if self.headers.get("Authorization") else 401
        self.say(status, {"X-Error-Code": faults.gated, "X-Error-Message": "simulated: access is restricted"})
        return False

    def _resolve(self, path: str) -> None:
        repository, _, rest = unquote(path).strip("/").partition("/resolve/")
        file = self.hub.files.get(f"{repository}/{rest.partition('/')[2]}")
        if file is None:
            self.say(404, {"X-Error-Code": "EntryNotFound"})
        elif self._welcome():
            linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
            self.say(302, {"Location": self.hub.signed(file.name), "X-Repo-Commit": self.hub.commit, **linked})

    def _plain(self, name: str) -> None:
        file = self.hub.files.get(name)
        if file is None:
            self.say(404)
        elif self._welcome():
            self.send_file(file, file.etag)

    def _api(self, parts: list[str], body: bytes) -> None:
        repository = "/".join(parts[:2])
        files = [file for name, file in self.hub.files.items() if name.startswith(f"{repository}/")]
        if not files:
            self.say(404, {"X-Error-Code": "RepoNotFound"})
            return
        if not self._welcome():
            return
        entries = [_entry(file, repository) for file in files]
        if "tree" in parts[2:3]:
            self._tree(entries, unquote("/".join(parts[4:])).strip("/"))
        elif "paths-info" in parts[2:3]:
            asked = _asked_paths(body, self.headers.get("Content-Type", ""))
            self.say_json([entry for entry in entries if entry["path"] in asked])
        else:
            full = "blobs" in parse_qs(urlsplit(self.path).query)
            siblings = [_sibling(file, repository, full=full) for file in files]
            gated = bool(self.hub.faults.gated)
            facts = {"_id": "0", "id": repository, "modelId": repository, "sha": self.hub.commit, "private": False}
            self.say_json({**facts, "gated": gated, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def _tree(self, entries: list[dict[str, object]], folder: str) -> None:
        """What lies in a folder of the repository: with `recursive`, all files below it and the folders between."""
        query = parse_qs(urlsplit(self.path).query)
        deep = query.get("recursive", ["false"])[0].lower() in ("1", "true")
        below = [entry for entry in entries if str(entry["path"]).startswith(f"{folder}/" if folder else "")]
        if not below:
            self.say(404, {"X-Error-Code": "EntryNotFound"})
            return
        level = folder.count("/") + 2 if folder else 1
        names = {str(entry["path"]).rsplit("/", 1)[0] for entry in below if str(entry["path"]).count("/") >= level}
        folders = {"/".join(name.split("/")[:depth]) for name in names for depth in range(level, name.count("/") + 2)}
        shown = below if deep else [entry for entry in below if str(entry["path"]).count("/") < level]
        listed = [_folder(name) for name in sorted(folders) if deep or name.count("/") < level]
        self.say_json([*listed, *shown])

    def _civitai(self, path: str) -> None:
        key = path.rpartition("/")[2]
        file = next((file for file in self.hub.files.values() if key.lower() in _civitai_keys(file)), None)
        if file is None:
            self.say_json({"error": "Model not found"}, 404)
        elif path.startswith("/api/v1/"):
            self.say_json(self._civitai_version(file))
        elif self._welcome():
            self.say(307, {"Location": self.hub.signed(file.name) + "&no_head=1"})

    def _civitai_version(self, file: HubFile) -> dict[str, object]:
        name = file.name.rpartition("/")[2]
        url = self.hub.civitai_url(file.name)
        hashes = {"SHA256": file.sha256.upper(), "AutoV2": file.sha256[:10].upper()}
        one = {"id": file.civitai_id, "name": name, "sizeKB": file.size / 1024, "type": "Model", "primary": True}
        return {
            "id": file.civitai_id,
            "modelId": file.civitai_id,
            "name": "simulated",
            "downloadUrl": url,
            "files": [{**one, "hashes": hashes, "downloadUrl": url}],
        }


class StoreRoutes(Routes):
    """The store: bytes at signed addresses."""

    role = "store"

    def route(self, path: str) -> None:
        """Answer with the file, where the address is still valid."""
        self.hub.count_store_request()
        query = parse_qs(urlsplit(self.path).query)
        file = self.hub.files.get(unquote(path.removeprefix("/blob/")))
        if self.headers.get("Authorization"):
            self.say(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
        elif time.monotonic() > float(query.get("Expires", ["0"])[0]) or (
            self.command == "HEAD" and "no_head" in query
        ):
            self.say(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        elif file is None:
            self.say(404)
        elif self.hub.faults.login_page:
            self.say(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html><body>Please log in</body></html>")
        else:
            self.send_file(file, file.etag)


class _Body:
    """A body on its way, with throttle, cuts, stalls and flipped bytes."""

    def __init__(self, routes: Routes, file: HubFile) -> None:
        self._routes = routes
        self._file = file
        self._faults = routes.hub.faults
        self._sent = 0
        self._began = time.monotonic()

    def send(self, start: int, end: int) -> int:
        """Send the range, or as much of it as the faults allow; the bytes that were sent."""
        faults = self._faults
        stop = end
        if faults.drop_after is not None:
            with self._routes.hub.lock:
                stop = min(end, start + self._routes.hub.random.randint(*faults.drop_after))
        if faults.stall_after is not None:
            stop = min(stop, start + faults.stall_after)
        try:
            self._send(start, stop)
        except OSError:
            self._routes.close_connection = True
        if stop < end:
            self._routes.close_connection = True
            if faults.stall_after is not None:
                self._stall()
            elif faults.reset:
                self._reset()
        return self._sent

    def _send(self, start: int, stop: int) -> None:
        direct = self._file.path and self._faults.wrong_at is None
        plain = not isinstance(self._routes.connection, ssl.SSLSocket)
        if direct and plain and hasattr(os, "sendfile"):
            assert self._file.path is not None
            with self._file.path.open("rb") as file:
                self._each(start, stop, lambda at, count: self._sendfile(file.fileno(), at, count))
        else:
            self._each(start, stop, self._sendall)

    def _each(self, start: int, stop: int, send: object) -> None:
        at = start
        while at < stop and not self._routes.hub.stopping.is_set():
            count = send(at, min(stop - at, _SLICE if self._faults.throttle else _CHUNK * 4))  # type: ignore[operator]
            at += count
            self._sent += count
            self._routes.hub.count_bytes(count)
            if self._faults.throttle:
                ahead = self._began + self._sent / self._faults.throttle - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)

    def _sendfile(self, source: int, at: int, count: int) -> int:
        return os.sendfile(self._routes.connection.fileno(), source, at, count)

    def _sendall(self, at: int, count: int) -> int:
        count = min(count, _CHUNK)
        data = self._read(at, count)
        wrong = self._faults.wrong_at
        if wrong is not None and at <= wrong < at + count:
            data = data[: wrong - at] + bytes([data[wrong - at] ^ 1]) + data[wrong - at + 1 :]
        self._routes.connection.sendall(data)
        return count

    def _read(self, at: int, count: int) -> bytes:
        if self._file.path is None:
            return self._file.data[at : at + count]
        with self._file.path.open("rb") as file:
            file.seek(at)
            return file.read(count)

    def _stall(self) -> None:
        """Say nothing until the hub stops or the other side gives up."""
        self._routes.connection.settimeout(_TICK)
        while not self._routes.hub.stopping.is_set():
            try:
                if not self._routes.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def _reset(self) -> None:
        self._routes.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._routes.connection.close()


def _entry(file: HubFile, repository: str) -> dict[str, object]:
    lfs = {"oid": file.sha256, "size": file.size, "pointerSize": 135}
    oid = hashlib.sha1(file.sha256.encode(), usedforsecurity=False).hexdigest()
    return {
        "type": "file",
        "oid": oid,
        "size": file.size,
        "path": file.name.removeprefix(f"{repository}/"),
        "lfs": lfs,
    }


def _sibling(file: HubFile, repository: str, *, full: bool) -> dict[str, object]:
    """A file as a model's facts name it; with `full` what it is, too."""
    entry = _entry(file, repository)
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": 135}
    facts = {"size": file.size, "blobId": entry["oid"], "lfs": lfs} if full else {}
    return {"rfilename": entry["path"], **facts}


def _folder(name: str) -> dict[str, object]:
    oid = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": name}


def _asked_paths(body: bytes, kind: str) -> set[str]:
    if "json" in kind:
        return set(json.loads(body or b"{}").get("paths", []))
    return set(parse_qs(body.decode()).get("paths", []))


def _civitai_keys(file: HubFile) -> tuple[str, ...]:
    return str(file.civitai_id), file.sha256, file.sha256[:10]
