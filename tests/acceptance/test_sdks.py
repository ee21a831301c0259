"""The published SDKs for Comfy API v2, unchanged, at the durable gateway: comfy-sdk and @comfyorg/sdk."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import comfy_sdk
import pytest
from comfy_sdk import AsyncComfy, Comfy
from PIL import Image

from comfyops.testing import graphs
from comfyops.workflows import api_format
from tests.acceptance.clients import PACKAGE, javascript, node
from tests.acceptance.conftest import painted, write
from tests.acceptance.processes import Server
from tests.acceptance.test_real_clients import House
from tests.acceptance.test_serve import gateway, token

__all__ = ["javascript"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:comfy_sdk")


@pytest.fixture(scope="module")
def house(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from _house(server, tmp_path_factory.mktemp("sdks"))


@pytest.fixture(scope="module")
def slow_house(slow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from _house(slow_server, tmp_path_factory.mktemp("slow-sdks"))


def _house(server: Server, folder: Path) -> Iterator[House]:
    with gateway(folder / "home", "--backend", server.url) as (data, _):
        yield House(data["url"], "", token(folder / "home", "client"), folder)


@pytest.fixture
def client(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comfy]:
    monkeypatch.setenv("COMFY_BASE_URL", house.url)
    with Comfy(api_key=house.token) as made:
        yield made


def picture_bytes(color: int = 7) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def workflow(client: Comfy | AsyncComfy, graph: Any = None) -> comfy_sdk.Workflow:
    return client.workflows.from_json(api_format.dump(graph or graphs.picture()))


def test_a_workflow_with_an_asset_runs_and_its_output_comes_whole_and_in_parts(
    client: Comfy, tmp_path: Path, house: House
) -> None:
    data = picture_bytes()
    (tmp_path / "cat.png").write_bytes(data)
    asset = client.assets.from_file(tmp_path / "cat.png")
    made = workflow(client, graphs.load("none.png"))
    made.set_input("1", "image", asset)
    job = client.run(made, timeout=60)
    assert job.status == "succeeded" and asset.hash.endswith(blake3.blake3(data).hexdigest())
    (output,) = job.get_outputs("2")
    whole = output.to_bytes()
    assert (output.type, output.content_type, output.size_bytes) == ("image", "image/png", len(whole))
    assert output.job_id == job.id and output.to_file(tmp_path / "out.png").read_bytes() == whole
    assert output.to_bytes(range=(4, 19)) == whole[4:20]
    with urllib.request.urlopen(_asked(output.get_download_url().url, house)) as answer:
        assert answer.read() == whole
    reused = client.assets.from_bytes(data, filename="other.png")
    reused.commit()
    assert client.assets.get(reused.id or "").hash == asset.hash
    chained = workflow(client, graphs.load("none.png"))
    chained.set_input("1", "image", client.assets.get(output.id))
    assert client.run(chained, timeout=60).status == "succeeded"
    number = reused.commit()
    reused.delete()
    with pytest.raises(comfy_sdk.NotFound):
        client.assets.get(number)


def _asked(url: str, house: House) -> urllib.request.Request:
    own = url if url.startswith("http") else house.url + url
    return urllib.request.Request(own, headers={"Authorization": f"Bearer {house.token}"})


def test_events_go_forward_and_end_with_the_outputs_told(client: Comfy) -> None:
    job = client.submit(workflow(client, painted()))
    seen = list(job.events())
    values = [event.value for event in seen if isinstance(event, comfy_sdk.Progress)]
    assert values == sorted(values) and values
    assert any(isinstance(event, comfy_sdk.OutputReady) for event in seen)
    assert isinstance(seen[-1], comfy_sdk.StatusChange) and seen[-1].status == "succeeded"
    assert [type(event).__name__ for event in job.events()][-1] == "StatusChange"  # again, once it is over


def test_labels_find_jobs_on_every_page(client: Comfy) -> None:
    label = {"client": f"acme-{time.time_ns()}"}
    ids = [client.submit(workflow(client), metadata=label).id for _ in range(5)]
    assert [found.id for found in client.list_jobs(metadata=label, limit=2)] == ids[::-1]
    job = client.jobs.get(ids[0])
    assert job.metadata == label
    assert job.get_workflow().graph["2"]["class_type"] == "SaveImage"
    for made in ids:
        assert client.jobs.get(made).result().status == "succeeded"
    assert list(client.list_jobs(metadata={"client": "nobody"})) == []


def test_the_same_key_is_the_same_job(client: Comfy) -> None:
    graph = graphs.picture(17)
    first, again = (client.submit(workflow(client, graph), idempotency_key="order-17") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(comfy_sdk.IdempotencyKeyReuse):
        client.submit(workflow(client, graphs.picture(18)), idempotency_key="order-17")


def test_errors_are_the_sdks_own(client: Comfy, house: House) -> None:
    with pytest.raises(comfy_sdk.InvalidWorkflow):
        client.submit(workflow(client, graphs.bad()))
    with pytest.raises(comfy_sdk.NotFound):
        client.jobs.get("00000000-0000-4000-8000-000000000000")
    with Comfy(api_key="wrong") as stranger, pytest.raises(comfy_sdk.Unauthorized):
        stranger.submit(workflow(stranger))


def test_a_running_job_is_cancelled(slow_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFY_BASE_URL", slow_house.url)
    with Comfy(api_key=slow_house.token) as client:
        job, waiting = client.submit(workflow(client)), client.submit(workflow(client))
        while job.refresh().status == "queued":
            time.sleep(0.05)
        assert waiting.cancel().wait(timeout=30).status == "canceled"
        assert job.cancel().wait(timeout=30).status == "canceled"
        with pytest.raises(comfy_sdk.JobFailed):
            job.result()


async def test_the_asynchronous_client_does_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFY_BASE_URL", house.url)
    async with AsyncComfy(api_key=house.token) as client:
        asset = client.assets.from_bytes(picture_bytes(9), filename="dog.png")
        made = workflow(client, graphs.load("none.png"))
        made.set_input("1", "image", asset)
        job = await client.submit(made, metadata={"who": "async"})
        seen = [event async for event in job.events()]
        assert isinstance(seen[-1], comfy_sdk.StatusChange) and seen[-1].status == "succeeded"
        await job.result()
        (output,) = job.outputs
        assert (await output.to_bytes())[:4] == b"\x89PNG" and len(await output.to_bytes(range=(0, 9))) == 10
        assert [found.id async for found in client.list_jobs(metadata={"who": "async"})] == [job.id]
        await asset.delete()


@dataclass(frozen=True)
class _Files:
    workflow: Path
    load: Path
    picture: Path


@pytest.fixture
def files(house: House) -> _Files:
    (house.folder / "cat.png").write_bytes(picture_bytes(11))
    load = write(house.folder / "load.json", graphs.load("none.png"))
    return _Files(write(house.folder / "painted.json", painted()), load, house.folder / "cat.png")


def test_the_javascript_sdk_does_the_same(house: House, javascript: Path, files: _Files) -> None:
    variables = {"COMFY_BASE_URL": house.url, "TEST_TOKEN": house.token}
    done = house.run(node(), javascript / "sdk.mjs", files.workflow, files.load, files.picture, **variables)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["hash"].endswith(blake3.blake3(files.picture.read_bytes()).hexdigest())
    assert told["sameAsset"] and told["replayed"] and told["createdNew"][1] is False, told
    assert told["status"] == told["found"] == "succeeded" and told["loaded"] == ["succeeded", 1], told
    assert told["output"]["size"] == told["bytes"] and told["output"]["type"] == "image"
    assert told["head"] == "89504e470d0a1a0a" and told["range"] == 10 and told["workflow"] == 7
    assert told["missing"] == "NotFound" and len(told["events"]) > 2


def test_the_javascript_sdk_cancels(slow_house: House, javascript: Path) -> None:
    variables = {"COMFY_BASE_URL": slow_house.url, "TEST_TOKEN": slow_house.token}
    done = slow_house.run(node(), javascript / "sdk_cancel.mjs", slow_house.workflow(), **variables)
    assert done.returncode == 0 and json.loads(done.stdout) == {"status": "canceled"}, done.stderr.decode()


def test_the_package_is_the_one_that_was_meant(javascript: Path) -> None:
    found = json.loads((javascript / "node_modules" / "@comfyorg" / "sdk" / "package.json").read_text())
    assert f"{found['name']}@{found['version']}" == PACKAGE
