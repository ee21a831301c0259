"""Programs that people have already, through the gateway: comfy-cli, curl, scripts in the style of ComfyUI's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from comfyops.testing import graphs
from comfyops.workflows.graph import GraphBuilder
from tests.acceptance.clients import programs
from tests.acceptance.conftest import write
from tests.acceptance.processes import SECONDS, Server
from tests.acceptance.test_serve import gateway, token

__all__ = ["programs"]

SCRIPT = """
import json, sys, urllib.request, uuid
import websocket

address, secret, how = sys.argv[1:4]
client = str(uuid.uuid4())
headers = {"Authorization": "Bearer " + secret} if how == "bearer" else {}
query = "&token=" + secret if how == "query" else ""

def ask(path, body=None):
    request = urllib.request.Request(f"http://{address}/{path}{query.replace('&', '?') if '?' not in path else query}",
                                     data=body, headers={**headers, "Content-Type": "application/json"})
    return urllib.request.urlopen(request).read()

socket = websocket.WebSocket()
socket.connect(f"ws://{address}/ws?clientId={client}{query}", header=[f"{k}: {v}" for k, v in headers.items()])
prompt = json.load(open(sys.argv[4]))
job = json.loads(ask("prompt", json.dumps({"prompt": prompt, "client_id": client}).encode()))["prompt_id"]
while True:
    message = socket.recv()
    if isinstance(message, str):
        message = json.loads(message)
        data = message["data"]
        if message["type"] == "executing" and data["node"] is None and data["prompt_id"] == job:
            break
socket.close()
for node in json.loads(ask(f"history/{job}"))[job]["outputs"].values():
    for image in node["images"]:
        picture = ask(f"view?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}")
        print(picture[:8].hex())
"""
PICTURES = """
import json, sys, urllib.request, uuid
import websocket

address, secret = sys.argv[1:3]
client = str(uuid.uuid4())
socket = websocket.WebSocket()
socket.connect(f"ws://{address}/ws?clientId={client}", header=["Authorization: Bearer " + secret])
body = json.dumps({"prompt": json.load(open(sys.argv[3])), "client_id": client}).encode()
request = urllib.request.Request(f"http://{address}/prompt", data=body, headers={"Authorization": "Bearer " + secret})
job = json.loads(urllib.request.urlopen(request).read())["prompt_id"]
node, pictures = "", {}
while True:
    message = socket.recv()
    if isinstance(message, str):
        message = json.loads(message)
        if message["type"] == "executing" and message["data"]["prompt_id"] == job:
            node = message["data"]["node"]
            if node is None:
                break
    else:
        pictures.setdefault(node, []).append(message[8:])
print(json.dumps({node: [picture[:8].hex() for picture in found] for node, found in pictures.items()}))
"""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class House:
    """A gateway before a simulated server: its address, the one without credentials, somebody's token, a folder."""

    url: str
    opened: str
    token: str
    folder: Path

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    def workflow(self) -> Path:
        """A workflow that makes a new picture."""
        return write(self.folder / "picture.json", graphs.picture())

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """A program of somebody who has no settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFY", "PYTHON"))}
        alone = {"DO_NOT_TRACK": "1", "COMFY_NO_WATCH": "1"}  # comfy-cli leaves no process behind
        own = {**kept, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), **alone, **variables}
        return subprocess.run(
            [str(item) for item in command], cwd=self.folder, env=own, capture_output=True, timeout=SECONDS
        )


@pytest.fixture(scope="module")
def house(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("clients")
    options = ("--backend", server.url, "--open-listen", "127.0.0.1:0", "--query-token")
    with gateway(folder / "home", *options) as (data, _):
        yield House(data["url"], data["opened"], token(folder / "home", "client"), folder)


@pytest.fixture(scope="module")
def slow_house(slow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("slow-clients")
    with gateway(folder / "home", "--backend", slow_server.url) as (data, _):
        yield House(data["url"], "", token(folder / "home", "client"), folder)


def envelope(done: subprocess.CompletedProcess[bytes]) -> Any:
    """What comfy-cli says went well."""
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ok"], (found, done.stderr[-500:])
    return found["data"]


def test_comfy_cli_in_its_cloud_mode_runs_a_workflow_and_gets_the_picture(house: House, programs: Path) -> None:
    cloud = {"COMFY_CLOUD_BASE_URL": house.url, "COMFY_CLOUD_AUTH_TOKEN": house.token}
    comfy = (programs / "comfy", "--skip-prompt", "--json", "--where", "cloud")
    ran = envelope(house.run(*comfy, "run", "--workflow", house.workflow(), "--wait", **cloud))
    assert ran["status"] == "completed" and len(ran["outputs"]) == 1
    job = ran["prompt_id"]
    (file,) = envelope(house.run(*comfy, "download", job, "-o", "got", **cloud))["files"]
    assert Path(file["path"]).read_bytes().startswith(PNG)
    assert envelope(house.run(*comfy, "jobs", "status", job, **cloud))["status"] == "completed"
    (sent,) = envelope(house.run(*comfy, "upload", file["path"], **cloud))["uploads"]
    assert sent["type"] == "input"
    wrong = house.run(*comfy, "run", "--workflow", house.workflow(), **{**cloud, "COMFY_CLOUD_AUTH_TOKEN": "wrong"})
    assert wrong.returncode != 0


def test_comfy_cli_without_a_token_works_at_the_open_listener(house: House, programs: Path) -> None:
    port = house.opened.rpartition(":")[2]
    comfy = (programs / "comfy", "--skip-prompt", "--json", "--where", "local", "run", "--host", "127.0.0.1")
    ran = envelope(house.run(*comfy, "--port", port, "--workflow", house.workflow(), "--wait"))
    assert ran["status"] == "completed" and len(ran["outputs"]) == 1
    refused = house.run(*comfy, "--port", house.url.rpartition(":")[2], "--workflow", house.workflow(), "--wait")
    assert refused.returncode != 0


@pytest.mark.parametrize("how", ["bearer", "query"])
def test_a_script_with_a_websocket_gets_its_picture(house: House, programs: Path, how: str) -> None:
    done = house.run(programs / "python", "-c", SCRIPT, house.address, house.token, how, house.workflow())
    assert done.stdout.split() == [PNG.hex().encode()], done.stderr.decode()
    refused = house.run(programs / "python", "-c", SCRIPT, house.address, "wrong", how, house.workflow())
    assert refused.returncode != 0 and b"401" in refused.stderr


def test_a_script_takes_pictures_from_the_websocket(house: House, programs: Path) -> None:
    build = GraphBuilder()
    image = build.add("EmptyImage", width=16, height=16, batch_size=2, color=graphs.any_color())
    build.add("SaveImageWebsocket", images=image[0])
    path = write(house.folder / "socket.json", build.build())
    done = house.run(programs / "python", "-c", PICTURES, house.address, house.token, path)
    assert done.returncode == 0 and json.loads(done.stdout) == {"2": [PNG.hex()] * 2}, done.stderr.decode()


def test_comfy_cli_lists_and_cancels_jobs(slow_house: House, programs: Path) -> None:
    cloud = {"COMFY_CLOUD_BASE_URL": slow_house.url, "COMFY_CLOUD_AUTH_TOKEN": slow_house.token}
    comfy = (programs / "comfy", "--skip-prompt", "--json", "--where", "cloud")
    sent = envelope(slow_house.run(*comfy, "run", "--workflow", slow_house.workflow(), **cloud))
    job = sent["prompt_id"]
    assert job in json.dumps(envelope(slow_house.run(*comfy, "jobs", "ls", **cloud)))
    envelope(slow_house.run(*comfy, "jobs", "cancel", job, **cloud))
    assert envelope(slow_house.run(*comfy, "jobs", "status", job, **cloud))["status"] in ("cancelled", "in_progress")


@pytest.mark.parametrize("how", ["bearer", "basic", "query", "nothing"])
def test_curl_with_each_credential(house: House, how: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl on the PATH")
    shown = {"bearer": ("-H", f"Authorization: Bearer {house.token}"), "basic": ("-u", f"anybody:{house.token}")}
    query = f"?token={house.token}" if how == "query" else ""
    body = json.dumps({"prompt": json.loads(house.workflow().read_text())})
    options = (curl, "-sS", "-w", "%{http_code}", "-H", "Content-Type: application/json", "-d", body)
    done = house.run(*options, *shown.get(how, ()), f"{house.url}/prompt{query}")
    text = done.stdout.decode()
    assert text.endswith("401" if how == "nothing" else "200") and ("prompt_id" in text) == (how != "nothing"), text
