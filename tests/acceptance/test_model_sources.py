"""Sources of models besides the internet's, as processes: object storage, other machines, folders."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comfyops.testing.model_hub import Faults, ModelHub
from comfyops.testing.object_store import ObjectStore
from tests.acceptance import processes
from tests.acceptance.processes import COMMAND, SECONDS, Done, environment, wait_until
from tests.unit.models.shelf import sha, weights

BIG = weights(16_000_000, seed=5)
NAME = "org/repo/big.safetensors"
TOKEN = "0123456789abcdef-peers"


class Machine:
    """A folder of models, and the settings of the machine that it is on."""

    def __init__(self, folder: Path, **variables: str) -> None:
        folder.mkdir()
        self.folder, self.models = folder, folder / "models"
        self.file = self.models / "vae" / "big.safetensors"
        own = {"COMFYOPS_HOME": str(folder / "home"), "HF_HOME": str(folder / "hf"), "COMFYOPS_PEER_TOKEN": TOKEN}
        self.variables = {**own, **variables}

    def knows(self, url: str, *, known: bool = True) -> None:
        """A catalog that knows the big model at an address."""
        facts = f", size: {len(BIG)}, sha256: {sha(BIG)}" if known else ""
        text = f"models:\n  - {{file: big.safetensors, folder: vae, url: '{url}'{facts}}}\n"
        (self.folder / "catalog.yaml").write_text(text)

    def words(self, *further: str) -> list[str]:
        """`comfyops models download` of the big model."""
        return ["models", "download", "big", "--catalog", "catalog.yaml", "--models-dir", "models", *further]

    def download(self, *further: str, **variables: str) -> Done:
        """Have the big model."""
        return processes.comfyops(*self.words(*further), folder=self.folder, variables={**self.variables, **variables})

    def begun(self, *words: str) -> subprocess.Popen[str]:
        """A command that runs on."""
        pipe = subprocess.PIPE
        env = environment(**self.variables)
        return subprocess.Popen([COMMAND, *words], cwd=self.folder, env=env, stdout=pipe, stderr=pipe, text=True)

    def has_some(self) -> bool:
        """Whether a part of the big model is known to be on the disk."""
        return any('"written": [[' in path.read_text() for path in self.models.rglob("*.part.json"))

    @contextmanager
    def sharing(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """`comfyops models share`, once it gives out the big model."""
        process = self.begun("models", "share", "--models-dir", "models", "--port", "0", "--json")
        try:
            text = ""
            assert process.stdout is not None
            while not text.endswith("\n}\n"):
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                text += line
            url = json.loads(text)["data"]["url"]
            wait_until(lambda: _status(f"{url}/sha256/{sha(BIG)}", TOKEN) == 200)
            yield process, url
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _status(url: str, token: str, method: str = "HEAD") -> int:
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with ModelHub({NAME: BIG}) as running:
        yield running


def at_hub(folder: Path, hub: ModelHub, **variables: str) -> Machine:
    """A machine that may ask the hub in the place of Hugging Face."""
    hosts = {"HF_ENDPOINT": hub.endpoint, "COMFYOPS_MODEL_HOSTS": f"{hub.endpoint},{hub.store}"}
    machine = Machine(folder, **hosts, **variables)
    machine.knows("https://huggingface.co/org/repo/resolve/main/big.safetensors")
    return machine


def given_out(folder: Path) -> Machine:
    """A machine that has the big model."""
    machine = Machine(folder)
    machine.file.parent.mkdir(parents=True)
    machine.file.write_bytes(BIG)
    return machine


def test_an_object_is_added_and_its_download_goes_on_after_kill_9(tmp_path: Path) -> None:
    with ObjectStore({"weights/vae/big.safetensors": BIG}, Faults(throttle=500_000.0)) as store:
        setting = f"s3://weights?endpoint={store.endpoint}&region={store.region}"
        machine = Machine(tmp_path / "a", COMFYOPS_MODEL_BUCKETS=setting, **store.variables)
        words = ("models", "add", "s3://weights/vae/big.safetensors", "--folder", "vae", "--json")
        added = processes.comfyops(*words, folder=machine.folder, variables=machine.variables)
        assert added.data["size"] == len(BIG) and added.data["file"] == "big.safetensors"
        download = ("models", "download", "big", "--models-dir", "models", "--json")
        process = machine.begun(*download)
        wait_until(machine.has_some)
        process.kill()
        assert process.communicate() and not machine.file.exists()
        store.faults = Faults()
        done = processes.comfyops(*download, folder=machine.folder, variables=machine.variables)
        (outcome,) = done.data["outcomes"]
        assert machine.file.read_bytes() == BIG and outcome["downloaded_bytes"] < len(BIG)
        assert store.secret_key not in done.out + done.err and "Signature" not in done.out + done.err


def test_an_object_of_a_bucket_that_was_not_named_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a")
    machine.knows("s3://other/big.safetensors", known=False)
    done = machine.download("--json")
    assert done.code == 1 and done.envelope["data"]["blocked"][0]["code"] == "untrusted_source", done


def test_a_model_comes_from_a_peer_and_the_internet_is_not_asked(hub: ModelHub, tmp_path: Path) -> None:
    with given_out(tmp_path / "a").sharing() as (_, url):
        machine = at_hub(tmp_path / "b", hub, COMFYOPS_PEERS=f"http://127.0.0.1:9,{url}")
        done = machine.download("--json", HF_HUB_OFFLINE="1")
        assert done.data["outcomes"][0]["how"] == "fetched" and machine.file.read_bytes() == BIG
        assert not hub.asked()


def test_a_peer_that_dies_in_the_middle_is_followed_by_the_internet(hub: ModelHub, tmp_path: Path) -> None:
    with given_out(tmp_path / "a").sharing() as (peer, url):
        machine = at_hub(tmp_path / "b", hub, COMFYOPS_PEERS=url)
        process = machine.begun(*machine.words("--json", "--max-workers", "2", "--limit-rate", "4M"))
        wait_until(machine.has_some)
        assert not hub.asked()
        peer.kill()
        peer.wait()
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, (out, err)
    assert machine.file.read_bytes() == BIG
    from_hub = sum(item.sent for item in hub.asked("store", "GET"))
    assert 0 < from_hub < len(BIG), "what the peer had sent was kept"


def test_a_share_needs_a_token_and_gives_nothing_without_it(hub: ModelHub, tmp_path: Path) -> None:
    owner = given_out(tmp_path / "a")
    (owner.models / "secret.txt").write_text("not a model")
    weak = ("models", "share", "--models-dir", "models", "--port", "0")
    for token, words in (("", "needs a token"), ("short", "at least 16")):
        variables = {**owner.variables, "COMFYOPS_PEER_TOKEN": token}
        processes.comfyops(*weak, folder=owner.folder, variables=variables).failed_with("usage", words, exit_code=2)
    with owner.sharing() as (process, url):
        assert _status(f"{url}/models/vae/big.safetensors", TOKEN) == 200
        for path in ("sha256/" + sha(BIG), "models/vae/big.safetensors", "models/none"):
            assert _status(f"{url}/{path}", "another-token-of-16") == 401
        for path in ("models/../secret.txt", "models/secret.txt", "models/vae/..%2f..%2fsecret.txt", "", "sha256/x"):
            assert _status(f"{url}/{path}", TOKEN) == 404
        assert _status(f"{url}/models/vae/big.safetensors", TOKEN, "DELETE") == 405
        other = at_hub(tmp_path / "b", hub, COMFYOPS_PEERS=url, COMFYOPS_PEER_TOKEN="another-token-of-16")
        assert other.download("--json").data["outcomes"][0]["ok"] and hub.asked("store", "GET")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=SECONDS)
        assert "Traceback" not in err and TOKEN not in err


def test_a_share_is_looked_into_before_anything_is_fetched(hub: ModelHub, tmp_path: Path) -> None:
    nas = tmp_path / "nas" / "deep" / "vae"
    nas.mkdir(parents=True)
    (nas / "big.safetensors").write_bytes(BIG)
    machine = at_hub(tmp_path / "a", hub, COMFYOPS_MODEL_SOURCES=f"{tmp_path / 'none'}, {tmp_path / 'nas'}")
    outcome = machine.download("--json").data["outcomes"][0]
    assert outcome["how"] in ("linked", "copied") and machine.file.read_bytes() == BIG and not hub.asked()


def test_the_cache_of_hugging_faces_own_tools_serves_offline(hub: ModelHub, tmp_path: Path) -> None:
    machine = at_hub(tmp_path / "a", hub)
    blobs = machine.folder / "hf" / "hub" / "models--org--repo" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / sha(BIG)).write_bytes(BIG)
    assert machine.download("--json", HF_HUB_OFFLINE="1").code == 0
    assert machine.file.read_bytes() == BIG and not hub.asked()
    machine.file.unlink()
    (blobs / sha(BIG)).unlink()
    (outcome,) = json.loads(machine.download("--json", HF_HUB_OFFLINE="1").out)["data"]["outcomes"]
    assert not outcome["ok"] and "offline" in str(outcome) and not hub.asked()
