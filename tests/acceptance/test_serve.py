"""`comfyops serve` and `comfyops auth diagnose` as a person runs them."""

from __future__ import annotations

import json
import resource
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.acceptance.processes import Server, comfyops, ended, simulated, started, stopped, wait_until


@contextmanager
def gateway(home: Path, *options: str | Path, **place: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """What a started gateway says of itself, and its process."""
    with started("serve", "--port", "0", "--home", home, "--json", *options, **place) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, f"the gateway did not start: {process.communicate()[1]}"
            text += line
        yield json.loads(text)["data"], process


def token(home: Path, name: str, role: str = "artist") -> str:
    """A new token."""
    done = comfyops("auth", "token", "create", name, "--role", role, "--home", home, "--json")
    assert done.code == 0, done
    return str(done.data["token"])


def status(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_without_a_backend_a_simulated_one_is_started_and_said_so(tmp_path: Path) -> None:
    with gateway(tmp_path) as (data, process):
        assert data["simulated"] is True and len(data["backends"]) == 1
        assert status(data["url"] + "/queue") == 401
        assert status(data["url"] + "/queue", token(tmp_path, "a")) == 200
        assert status(data["url"] + "/health") == 200
        done = stopped(process, signal.SIGTERM)
    assert done.code == 0 and "simulated" in done.err and "gateway ready at" in done.err and "Traceback" not in done.err


def test_workflows_run_through_it_with_a_token(tmp_path: Path, folder: Path, server: Server) -> None:
    home = tmp_path / "home"
    with gateway(home, "--backend", server.url) as (data, _):
        assert data["simulated"] is False and data["backends"] == [server.url]
        options = ("run", "painted.json", "--server", data["url"], "-o", "out")
        comfyops(*options, folder=folder).failed_with("login_required", "hint:")
        secret = {"COMFYOPS_TOKEN": token(home, "a")}
        done = comfyops(*options, folder=folder, variables=secret)
        assert done.code == 0 and (folder / done.out.strip()).is_file(), done


def test_diagnose_finds_the_gateway_shut_and_a_bare_server_open(tmp_path: Path, server: Server) -> None:
    with gateway(tmp_path, "--backend", server.url) as (data, _):
        done = comfyops("auth", "diagnose", data["url"], "--token", token(tmp_path, "a"), "--json")
        assert done.code == 0 and done.data["shut"] is True and len(done.data["probes"]) > 40, done
        assert {"right credential", "websocket, right credential"} <= {item["name"] for item in done.data["probes"]}
    bare = comfyops("auth", "diagnose", server.url)
    assert bare.code == 1 and "open" in bare.out and "no credential" in bare.out


def test_several_backends_share_the_people(tmp_path: Path, server: Server) -> None:
    with simulated() as other, gateway(tmp_path, "--backend", server.url, "--backend", other.url) as (data, _):
        assert data["backends"] == [server.url, other.url]
        assert all(status(data["url"] + "/queue", token(tmp_path, f"t{number}")) == 200 for number in range(4))


def test_a_listener_without_credentials_is_there_where_asked_for(tmp_path: Path, server: Server) -> None:
    options = ("--open-listen", "127.0.0.1:0", "--open-owner", "studio")
    with gateway(tmp_path, "--backend", server.url, *options) as (data, process):
        assert status(data["url"] + "/queue") == 401 and status(data["opened"] + "/queue") == 200
        done = stopped(process, signal.SIGTERM)
    assert "needs no credential and acts as 'studio' (artist)" in done.err
    with gateway(tmp_path, "--backend", server.url) as (data, _):
        assert data["opened"] is None


def test_an_administrator_needs_a_credential(tmp_path: Path, server: Server) -> None:
    options = ("--open-listen", "127.0.0.1:0", "--open-role", "administrator")
    with started("serve", "--home", tmp_path, "--backend", server.url, "--port", "0", *options) as process:
        ended(process).failed_with("account", "administrator")


def test_a_backend_that_does_not_answer_is_told_and_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, "--backend", "http://127.0.0.1:9") as (data, _):
        assert status(data["url"] + "/health") == 503
        artist = token(tmp_path, "a")
        assert status(data["url"] + "/object_info", artist) == 502
        assert status(data["url"] + "/queue", artist) == 200  # jobs are kept by the gateway itself


def test_without_a_queue_a_backend_that_does_not_answer_has_no_jobs(tmp_path: Path) -> None:
    with gateway(tmp_path, "--pass-through", "--backend", "http://127.0.0.1:9") as (data, _):
        assert data["durable"] is False
        assert status(data["url"] + "/queue", token(tmp_path, "a")) == 502


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--backend", "ftp://x"), "ftp://x"),
        (("--backend", "http://"), "http://"),
        (("--host", "no-such-host.invalid"), "no-such-host.invalid"),
        (("--deny-node", "artist"), "ROLE=CLASS"),
        (("--certificate", "none.pem"), "key"),
        (("--allow-origin", "*"), "no origin"),
        (("--allow-origin", "studio.example.org"), "https://"),
        (("--open-listen", "0.0.0.0:8190"), "only this machine"),
        (("--open-listen", "nowhere"), "unix:/path"),
        (("--open-listen", "unix:/x", "--open-mode", "666"), "660"),
        (("--port", "99999"), "--port"),
    ],
)
def test_settings_that_cannot_be_are_told(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    comfyops("serve", "--home", tmp_path, *options).failed_with("usage", words, exit_code=2)


def test_an_encrypted_key_is_refused_and_not_asked_about(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    secret = serialization.BestAvailableEncryption(b"four words of nothing")
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    files = ("--certificate", tmp_path / "cert.pem", "--key", tmp_path / "key.pem")
    done = comfyops("serve", "--home", tmp_path, "--port", "0", *files)
    done.failed_with("usage", "without a passphrase", exit_code=2)
    assert "Enter" not in done.err


def held(url: str, count: int, source: str = "127.0.0.1") -> list[socket.socket]:
    """Connections from an address of this machine, each with a request that its answer has not been read of."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    found = [socket.create_connection((host, int(port)), 20, (source, 0)) for _ in range(count)]
    for one in found:
        one.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return found


def test_an_address_has_as_many_connections_as_said(tmp_path: Path, server: Server) -> None:
    options = ("--backend", server.url, "--pass-through", "--max-connections", "20")
    with gateway(tmp_path, *options) as (data, process):
        url = data["url"]
        mine, theirs = held(url, 25), held(url, 20, "127.0.0.2")
        answers = [one.recv(12)[9:] for one in mine]
        assert answers.count(b"200") == 20 and answers.count(b"429") == 5
        assert {one.recv(12)[9:] for one in theirs} == {b"200"}
        for one in mine + theirs:
            one.close()
        wait_until(lambda: status(f"{url}/health") == 200)
        done = stopped(process, signal.SIGTERM)
    assert "127.0.0.1 has 20 connections open" in done.err and "Traceback" not in done.err


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system cannot bound another process")
def test_who_takes_all_files_that_a_gateway_may_open_keeps_nobody_out_for_long(tmp_path: Path, server: Server) -> None:
    options = ("--backend", server.url, "--pass-through", "--max-connections", "1000")
    with gateway(tmp_path, *options) as (data, process):
        url = data["url"]
        assert status(f"{url}/health") == 200
        most = max(int(file.name) for file in Path(f"/proc/{process.pid}/fd").iterdir()) + 20
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
        mine = held(url, 60)
        assert mine[0].recv(12)[9:] == b"200"
        for one in mine:
            one.close()
        wait_until(lambda: status(f"{url}/health") == 200)
        done = stopped(process, signal.SIGTERM)
    assert "Traceback" not in done.err and "Too many open files" in done.err


def test_a_port_that_is_taken_is_told(tmp_path: Path, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    with started("serve", "--home", tmp_path, "--backend", server.url, "--port", port) as process:
        ended(process).failed_with("port_in_use", "hint:")


def test_diagnose_of_nothing_is_told() -> None:
    comfyops("auth", "diagnose", "http://127.0.0.1:9").failed_with("backend_unreachable")
    comfyops("auth", "diagnose", "nonsense").failed_with("usage", exit_code=2)


def test_what_is_revoked_stops_at_every_gateway_of_a_home_and_both_keep_one_record(
    tmp_path: Path, server: Server
) -> None:
    secret = token(tmp_path, "ci")
    options = ("--backend", server.url, "--pass-through")  # the queue in SQLite is for one process
    with gateway(tmp_path, *options) as (one, _), gateway(tmp_path, *options) as (two, _):
        places = [one["url"] + "/queue", two["url"] + "/queue"]
        assert [status(place, secret) for place in places] == [200, 200]
        assert comfyops("auth", "token", "revoke", "ci", "--home", tmp_path).code == 0
        wait_until(lambda: [status(place, secret) for place in places] == [401, 401])
        other = token(tmp_path, "other")
        assert [status(place, other) for place in places] == [200, 200]
    refused = comfyops("audit", "ls", "--refused", "--home", tmp_path, "--json").data
    assert {line["reason"] for line in refused} == {"wrong_credential"}
    assert comfyops("audit", "verify", "--home", tmp_path).code == 0
