"""Every odd answer and every error of the network is an error of ours, in one sentence."""

import asyncio
import gzip
import ssl
import subprocess

import aiohttp
import pytest
from aiohttp import web

from comfyops.backends.comfyui import ComfyUI
from comfyops.backends.http import Http
from comfyops.backends.refusals import translate
from comfyops.errors import (
    BackendError,
    ComfyOpsError,
    LoginRequiredError,
    NotComfyUIError,
    RejectedError,
    UnreachableError,
    UsageError,
)
from comfyops.testing import graphs
from tests.unit.backends.scripted import answer, break_off, disconnect, hang

HTML = "<!doctype html><title>Router</title>"


def all_library_errors(kind=aiohttp.ClientError):
    yield kind
    for child in kind.__subclasses__():
        yield from all_library_errors(child)


@pytest.mark.parametrize("kind", sorted(set(all_library_errors()), key=lambda kind: kind.__name__))
def test_every_error_of_the_http_library_becomes_one_of_ours(kind):
    worded = type(kind.__name__, (kind,), {"__init__": lambda self: None, "__str__": lambda self: "some words"})
    error = worded()
    assert isinstance(translate(error, "http://x", "/queue", 3), UnreachableError | NotComfyUIError)


def one_sentence(error: ComfyOpsError) -> bool:
    return error.message.endswith(".") and "\n" not in error.message and "Traceback" not in error.message


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (answer(401, data={"error": "Authentication required."}), LoginRequiredError, "login"),
        (answer(403), LoginRequiredError, "login"),
        (answer(407), LoginRequiredError, "login"),
        (answer(302, headers={"Location": "/login"}), LoginRequiredError, "login"),
        (answer(302, headers={"Location": "https://elsewhere.example/"}), NotComfyUIError, "redirect"),
        (answer(200, HTML, content_type="text/html"), NotComfyUIError, "HTML page"),
        (answer(200, "plain words"), NotComfyUIError, "not JSON"),
        (answer(200, "{" * 300_000), NotComfyUIError, "not JSON"),
        (answer(200, ""), NotComfyUIError, "not what a ComfyUI server gives"),
        (answer(200, data=[1, 2]), NotComfyUIError, "not what a ComfyUI server gives"),
        (answer(404, "404: Not Found"), NotComfyUIError, "no route /queue"),
        (answer(500, "500 Internal Server Error\n\nServer got itself in trouble"), RejectedError, "500"),
        (answer(502, HTML, content_type="text/html"), UnreachableError, "502"),
        (answer(503, "away"), UnreachableError, "503"),
        (answer(413, "Maximum request body size 104857600 exceeded."), RejectedError, "too large"),
        (answer(418, data={"error": "I am\na teapot"}), RejectedError, "I am a teapot"),
        (answer(400, data={"error": {"message": "bad", "details": "thing"}}), RejectedError, "bad: thing"),
        (break_off, UnreachableError, "broke off"),
        (disconnect, UnreachableError, "broke off"),
        (hang(), UnreachableError, "did not answer within 0.3 seconds"),
    ],
)
async def test_an_odd_answer_is_told_in_one_sentence(server, reply, kind, words):
    server.replies["GET", "/queue"] = reply
    async with ComfyUI(server.url, timeout=0.3) as client:
        with pytest.raises(kind, match=words) as caught:
            await client.queue()
    assert type(caught.value) is kind and one_sentence(caught.value)


async def test_nothing_that_listens_is_told(unused_tcp_port):
    async with ComfyUI(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(UnreachableError, match="nothing listens there"):
            await client.submit(graphs.picture())


async def test_an_unknown_name_is_told():
    async with ComfyUI("http://no-such-host.invalid:8188", timeout=10) as client:
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await client.system_stats()


async def test_a_program_that_does_not_speak_http_is_told():
    async def talk(reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with other, ComfyUI(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(BackendError) as caught:
            await client.system_stats()
    assert one_sentence(caught.value)


async def test_https_to_a_plain_server_and_a_self_signed_certificate_are_told(server, tmp_path):
    async with ComfyUI(server.url.replace("http:", "https:")) as client:
        with pytest.raises(UnreachableError, match="TLS"):
            await client.queue()
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    await asyncio.to_thread(subprocess.run, [*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with ComfyUI(f"https://127.0.0.1:{port}") as client:
        with pytest.raises(UnreachableError, match=r"TLS.*certificate"):
            await client.queue()
    await runner.cleanup()


async def test_the_token_goes_with_every_request_and_the_websocket(server):
    token = "$2b$12$abcdefghijklmnopqrstuv"
    async with ComfyUI(server.url, token=token) as client:
        await client.submit(graphs.picture())
    assert {headers["Authorization"] for _, _, headers in server.requests} == {f"Bearer {token}"}
    assert {path for _, path, _ in server.requests} == {"/ws", "/prompt"}


async def test_nothing_is_sent_that_makes_a_server_think_of_a_browser(server, client):
    await client.submit(graphs.picture())
    names = {name.lower() for _, _, headers in server.requests for name in headers}
    assert "origin" not in names and not any(name.startswith("sec-fetch") for name in names)


async def test_an_answer_beyond_the_limit_is_not_read_into_memory(server):
    server.replies["GET", "/queue"] = answer(200, "x" * 3_000_000)
    http = Http(server.url, token=None, api_prefix="", timeout=5, max_answer=1_000_000)
    with pytest.raises(BackendError, match="larger than"):
        await http.get("/queue")
    await http.close()


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_read_into_memory(server):
    packed = gzip.compress(bytes(50_000_000))
    server.replies["GET", "/queue"] = answer(200, None, body=packed, headers={"Content-Encoding": "gzip"})
    http = Http(server.url, token=None, api_prefix="", timeout=5, max_answer=1_000_000)
    with pytest.raises(BackendError, match="larger than"):
        await http.get("/queue")
    await http.close()


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "  ", "grün"])
def test_a_token_that_a_header_cannot_carry_is_refused(token):
    with pytest.raises(UsageError) as caught:
        ComfyUI("http://127.0.0.1:1", token=token)
    assert token.strip() == "" or token not in caught.value.message


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://x:99999", "http://x?y=1", "http://a b", "file:///x"])
def test_an_address_that_cannot_be_is_refused(url):
    with pytest.raises(UsageError):
        ComfyUI(url)


@pytest.mark.parametrize(
    ("url", "prefix", "route", "address"),
    [
        ("http://x:1/", "", "/queue", "http://x:1/queue"),
        ("x:1", "", "/queue", "http://x:1/queue"),
        ("http://x:1", "/api", "/queue", "http://x:1/api/queue"),
        ("http://x:1", "api/", "/ws", "http://x:1/api/ws"),
        ("http://x:1", "/api", "/api/jobs", "http://x:1/api/jobs"),
        ("http://x:1", "", "/api/jobs", "http://x:1/api/jobs"),
        ("http://x/comfy", "/gpu1", "/api/jobs", "http://x/comfy/gpu1/api/jobs"),
    ],
)
def test_routes_are_put_together_from_address_and_prefix(url, prefix, route, address):
    assert Http(url, token=None, api_prefix=prefix, timeout=1).address(route) == address


async def test_a_closed_client_says_so(server):
    client = ComfyUI(server.url)
    await client.close()
    with pytest.raises(UsageError):
        await client.queue()


def test_the_token_is_not_shown():
    assert "secret" not in repr(ComfyUI("http://127.0.0.1:1", token="secret"))
