"""What belongs to one owner: queue, history, jobs and files of a server, without those of others.

Each function serves one route for somebody who may not see everybody's jobs. Who may is passed on as he is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlencode

from comfyops.errors import NotComfyUIError
from comfyops.gateway import naming
from comfyops.gateway.exchange import Exchange
from comfyops.gateway.owners import File, Owners, files_in
from comfyops.gateway.prompts import is_job_id, read_json
from comfyops.gateway.refusal import RefusedError, not_found
from comfyops.gateway.server import Server

_LIST = 200
"""Most entries of one list of history: each is fetched by itself."""

_ENTRY = 64 * 1024 * 1024  # bytes of one history entry, which repeats its workflow
_JOBS = 512 * 1024 * 1024  # of the list of all jobs


class Own:
    """One server, seen by one owner."""

    def __init__(self, server: Server, owners: Owners, owner: str) -> None:
        self._server = server
        self._owners = owners
        self._owner = owner

    def mine(self, job: str) -> bool:
        """Whether a job is this owner's."""
        return self._owners.owner(job) == self._owner

    # looking

    async def queue(self, exchange: Exchange) -> None:
        """GET /queue"""
        queue = await self._server.queue()
        await exchange.json(
            200, {name: [whole(item) for item in items if self.mine(str(item[1]))] for name, items in queue.items()}
        )

    async def history(self, exchange: Exchange) -> None:
        """GET /history"""
        query = parse_qs(exchange.query.decode("latin-1"))
        limit, offset = _number(query, "max_items", _LIST), _number(query, "offset", 0)
        found: dict[str, Any] = {}
        for job in reversed(self._owners.jobs(self._owner, self._server.address.url, min(limit, _LIST), offset)):
            found |= await self._entry(job)
        await exchange.json(200, found)

    async def history_entry(self, exchange: Exchange, job: str) -> None:
        """GET /history/ID; of others' jobs it says what it says of unknown ones."""
        await exchange.json(200, await self._entry(job) if self.mine(job) else {})

    async def jobs(self, exchange: Exchange) -> None:
        """GET /api/jobs"""
        query = parse_qs(exchange.query.decode("latin-1"))
        limit, offset = _number(query, "limit", 0), _number(query, "offset", 0)
        rest = {name: values[0] for name, values in query.items() if name not in ("limit", "offset")}
        answer = await self._server.upstream.send("GET", b"/api/jobs?" + urlencode(rest).encode())
        body = await answer.read(_JOBS)
        if answer.status != 200:
            await exchange.answer(answer.status, body, [(b"content-type", b"application/json; charset=utf-8")])
            return
        own = [item for item in _listed(body) if self.mine(str(item.get("id")))]
        page = own[offset : offset + limit] if limit else own[offset:]
        place = {"offset": offset, "limit": limit or None, "total": len(own), "has_more": offset + len(page) < len(own)}
        await exchange.json(200, {"jobs": page, "pagination": place})

    async def job(self, exchange: Exchange, job: str) -> None:
        """GET /api/jobs/ID"""
        self._must_be_mine(job)
        await exchange.pass_on(self._server.upstream)

    async def view(self, exchange: Exchange) -> None:
        """GET /view, of pictures of one's own jobs and uploads, and of inputs that nobody has uploaded."""
        query = parse_qs(exchange.query.decode("latin-1"), keep_blank_values=True)
        if any(len(query.get(name, ())) > 1 for name in ("filename", "type", "subfolder")):
            raise RefusedError(400, "ambiguous", "The query names a thing twice.")
        kind, subfolder, name = (query.get(key, [""])[0] for key in ("type", "subfolder", "filename"))
        if not await self.may_read(naming.place(kind or "output", subfolder, name)):
            raise not_found()
        answer = await exchange.ask(self._server.upstream)
        if answer.status == 404:  # said in the same words as of what others have sent
            answer.drop()
            raise not_found()
        await exchange.give_back(answer)

    async def files(self, exchange: Exchange) -> None:
        """GET /internal/files/KIND: those names of a folder's list that are of files which this owner may see."""
        kind = _kind(exchange.path)
        answer = await self._server.upstream.send("GET", f"/internal/files/{kind}".encode())
        names = _names(await answer.read(_JOBS))
        if kind != "input":
            await self._learn()
        await exchange.json(200, [name for name in names if self._lists(kind, name.removesuffix(f" [{kind}]"))])

    def _lists(self, kind: str, name: str) -> bool:
        file = naming.place(kind, "", name)
        if file is None:
            return False
        return self._owners.has_file(self._owner, file) or (kind == "input" and not self._owners.is_known(file))

    async def may_read(self, file: File | None) -> bool:
        """Whether a file is this owner's; jobs that have ended since are looked at for it."""
        if file is None:
            return False
        if self._owners.has_file(self._owner, file):
            return True
        if file.type == "input":
            return not self._owners.is_known(file)
        await self._learn()
        return self._owners.has_file(self._owner, file)

    def may_name(self, file: File) -> bool:
        """Whether a text that may be a file's name is not that of somebody else's file."""
        return self._owners.may_name(self._owner, file)

    def overwrites(self, file: File) -> bool:
        """Whether a new file may take the place of this one: not where somebody else has sent the same."""
        return self._owners.is_only_owners(self._owner, file)

    def may_read_folder(self, folder: str) -> bool:
        """Whether nothing of others lies in a folder below input."""
        return not self._owners.has_others_in(self._owner, folder)

    def keep(self, file: File) -> None:
        """A file is this owner's now."""
        self._owners.add_files(self._owner, [file])

    async def _learn(self) -> None:
        for job in self._owners.unindexed(self._owner, self._server.address.url):
            entry = (await self._entry(job)).get(job)
            if isinstance(entry, dict):
                self._owners.add_files(self._owner, files_in(entry.get("outputs")))
                self._owners.indexed(job)
            elif job not in self._server.jobs:  # the server has forgotten it
                self._owners.indexed(job)

    async def _entry(self, job: str) -> dict[str, Any]:
        answer = await self._server.upstream.send("GET", f"/history/{job}".encode())
        try:
            data = json.loads(await answer.read(_ENTRY))
        except (ValueError, RecursionError):
            raise NotComfyUIError("The backend does not answer as ComfyUI does.") from None
        return data if isinstance(data, dict) and answer.status == 200 else {}

    # changing

    async def change_queue(self, exchange: Exchange) -> None:
        """POST /queue"""
        await self._delete(exchange, await self._waiting())

    async def change_history(self, exchange: Exchange) -> None:
        """POST /history"""
        await self._delete(exchange, self._owners.jobs(self._owner, self._server.address.url, 10_000))

    async def _delete(self, exchange: Exchange, all_own: Iterable[str]) -> None:
        body = read_json(await exchange.body(exchange.limits.small_bytes), exchange.limits)
        if not isinstance(body, dict):
            raise RefusedError(400, "invalid_body", "The body is no JSON object.")
        wanted = body.get("delete", [])
        if not isinstance(wanted, list) or not all(is_job_id(item) for item in wanted):
            raise RefusedError(400, "invalid_body", "`delete` is no list of job ids.")
        for job in wanted:
            self._must_be_mine(job)
        jobs = list(all_own) if body.get("clear") else wanted
        if not jobs:
            await exchange.answer(200)
            return
        await exchange.pass_on(self._server.upstream, body=json.dumps({"delete": jobs}).encode())

    async def _waiting(self) -> list[str]:
        queue = await self._server.queue()
        return [str(item[1]) for item in queue["queue_pending"] if self.mine(str(item[1]))]

    async def interrupt(self, exchange: Exchange) -> None:
        """POST /interrupt: the running job, where it is one's own; without an id that too."""
        data = await exchange.body(exchange.limits.small_bytes)
        body = read_json(data, exchange.limits) if data.strip() else {}
        if not isinstance(body, dict):
            raise RefusedError(400, "invalid_body", "The body is no JSON object.")
        job = body.get("prompt_id")
        if job is not None:
            self._must_be_mine(job)
        else:
            queue = await self._server.queue()
            job = next((str(item[1]) for item in queue["queue_running"] if self.mine(str(item[1]))), None)
        if job is None:
            await exchange.answer(200)
            return
        await exchange.pass_on(self._server.upstream, body=json.dumps({"prompt_id": job}).encode())

    async def cancel(self, exchange: Exchange, job: str) -> None:
        """POST /api/jobs/ID/cancel"""
        self._must_be_mine(job)
        await exchange.pass_on(self._server.upstream)

    async def cancel_many(self, exchange: Exchange) -> None:
        """POST /api/jobs/cancel"""
        body = await exchange.body(exchange.limits.small_bytes)
        data = read_json(body, exchange.limits)
        jobs = data.get("job_ids") if isinstance(data, dict) else None
        if not isinstance(jobs, list) or not all(is_job_id(item) for item in jobs):
            raise RefusedError(400, "invalid_body", "`job_ids` is no list of job ids.")
        for job in jobs:
            self._must_be_mine(job)
        await exchange.pass_on(self._server.upstream, body=json.dumps({"job_ids": jobs}).encode())

    def _must_be_mine(self, job: object) -> None:
        if not is_job_id(job) or not self.mine(str(job)):
            raise not_found()


def whole(item: list[Any]) -> list[Any]:
    """An entry of a queue with its number as an integer, as in a queue to which nobody has given a number.

    ComfyUI makes a fraction (5.0) of each number that it is given, and the gateway gives one to every job.
    """
    number = item[0]
    return [int(number), *item[1:]] if isinstance(number, float) and number.is_integer() else item


def _listed(body: bytes) -> list[dict[str, Any]]:
    """The jobs in a server's list. Raises NotComfyUIError."""
    try:
        return [item for item in json.loads(body)["jobs"] if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotComfyUIError("The backend does not answer as ComfyUI does.") from error


def _names(body: bytes) -> list[str]:
    """The names in a server's list of files. Raises NotComfyUIError."""
    try:
        names = json.loads(body)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise NotComfyUIError("The backend does not answer as ComfyUI does.")
    return [name for name in names if isinstance(name, str)]


def _kind(path: str) -> str:
    """The kind of folder that a path ends with. Raises RefusedError."""
    kind = path.rpartition("/")[2]
    if kind not in ("input", "output", "temp"):
        raise RefusedError(400, "invalid_folder", "There are the folders input, output and temp.")
    return kind


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [""])[0]
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RefusedError(400, "invalid_query", f"`{name}` is no whole number from 0.")
    return int(text)
