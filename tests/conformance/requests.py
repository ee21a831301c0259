"""Recordings of requests and answers, one by one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from tests.conformance.normal import normal, normal_response, shape
from tests.conformance.outcome import Outcome
from tests.conformance.replay import IMAGE_PROMPT, Server, picture, serve

Case = dict[str, Any]

_SHAPE_ONLY = ("/system_stats", "/internal/folder_paths", "/experiment/models", "/node_replacements")
_BODY_NOT_COMPARED = ("/internal/logs", "/internal/files", "/object_info", "/extensions", "/global_subgraphs")
_SAMPLERS = re.compile(r'"class_type": "(KSampler)"')
_VIEWED = {"a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.xml": b"<a/>", "a.html": b"<b>", "a.js": b"1"}
_VIEWED |= {"a.txt": b"t", "a.json": b"{}", "a.pdf": b"%PDF"}
_VIEWED |= {f"a.{kind}": b"x" for kind in ("mp4", "glb", "bin", "webp")}


async def replay(version: str, name: str, cases: list[Case]) -> AsyncIterator[Outcome]:
    """Ask a fresh simulator everything that one file of recordings holds, in order."""
    async with serve(version) as server:
        await _prepare(server, name)
        for place, case in enumerate(cases):
            title = f"{name} {place:02} {case.get('note') or case['request']['path']}"
            yield await _compare(server, version, title, case)


async def _compare(server: Server, version: str, title: str, case: Case) -> Outcome:
    request, recorded = _with_id(case), case["response"]
    got = await server.send(_completed(server, case, request))
    expected, answer = normal_response(recorded), normal_response(got)
    path = request["path"]
    if path in ("/", "/api/"):
        expected.pop("body", None), answer.pop("body", None)
    if any(part in path for part in _BODY_NOT_COMPARED) or str(expected.get("json")).endswith("of JSON>"):
        expected.pop("json", None), answer.pop("json", None)
    elif any(part in path for part in _SHAPE_ONLY) and "json" in expected:
        expected["json"], answer["json"] = shape(expected["json"]), shape(answer.get("json"))
    if request["method"] == "POST" and path.endswith("/prompt") and got["status"] == 200:
        await server.idle()
        if "(empty id)" not in str(case.get("history", "(empty id)")):
            found = await server.get(f"/history/{quote(got['json']['prompt_id'], safe='')}")
            expected["history"] = normal(_only_entry(case["history"]))
            answer["history"] = normal(_only_entry(found))
    return Outcome(version, title, expected, answer)


def _only_entry(history: Any) -> Any:
    """A history entry, which some recordings hold under its id."""
    if isinstance(history, dict) and len(history) == 1 and "prompt" not in history:
        return next(iter(history.values()))
    return history


def _with_id(case: Case) -> Case:
    """The request with the id that the server gave it, so that later requests can name it."""
    request, answer = case["request"], case["response"].get("json")
    body = request.get("json")
    given = isinstance(body, dict) and isinstance(body.get("prompt"), dict) and "prompt_id" not in body
    if given and isinstance(answer, dict) and "prompt_id" in answer:
        return {**request, "json": {**body, "prompt_id": answer["prompt_id"]}}
    return request


def _completed(server: Server, case: Case, request: Case) -> Case:
    """The request with what the recording left out."""
    note = str(case.get("note"))
    if "101 MiB" in note and "multipart" not in request:
        return {**request, "body": "x" * (101 * 1024 * 1024)}
    if "50 MiB" in note:
        return {**request, "json": {"prompt": IMAGE_PROMPT, "extra_data": {"pad": "x" * (50 * 1024 * 1024)}}}
    if "100k nested" in note:
        return {**request, "body": '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}"}
    if "size differs" in note:
        return {**request, "multipart": {**request["multipart"], "size": 16}}
    if "9000 byte" in note:
        return {**request, "path": "/history/" + "x" * 9000} if "path" in note else _big_header(request)
    if "If-None-Match" in request.get("headers", {}):
        path = server.simulator.folders.output / request["path"].rpartition("=")[2]
        stat = path.stat()
        return {**request, "headers": {"If-None-Match": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'}}
    return request


def _big_header(request: Case) -> Case:
    return {**request, "headers": {"X-Big": "y" * 9000}}


async def _prepare(server: Server, name: str) -> None:
    """Bring the files there that the recorded server had at that moment."""
    folders = server.simulator.folders
    if name == "http_api_prefix":
        (folders.output / "api_00001_.png").write_bytes(picture(75))
    if name == "upload_view_userdata":
        for name in ("view_00001_.png", "view_00002_.png"):
            (folders.output / name).write_bytes(picture(75, 16))
    if name.startswith("extra_"):
        (folders.input / "example.png").write_bytes(picture(75, 64))
        for file, data in _VIEWED.items():
            (folders.input / file).write_bytes(data)
