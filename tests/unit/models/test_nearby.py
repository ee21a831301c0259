"""Copies that are nearer than the internet: peers and folders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from comfyops.errors import PortInUseError, UsageError
from comfyops.models.entry import ModelEntry
from comfyops.models.provision import Outcome, Provision
from comfyops.models.sharing.server import Listen, sharing, span_of
from comfyops.models.sharing.shelf import Shelf
from comfyops.models.sources import peers
from comfyops.models.sources.folders import ModelFolders
from comfyops.models.storage import of_folder
from comfyops.models.transfer.request import TransferSettings
from comfyops.testing.model_hub import ModelHub, serve
from comfyops.testing.model_hub_routes import Routes
from tests.unit.models.shelf import entry, provision, put, sha, wanted, web, weights

DATA = weights(50_000)
OTHER = weights(50_000, seed=1)
NAME = "org/repo/a.safetensors"


class Peer(ModelHub):
    """A peer that claims to have everything, and sends the same bytes whatever is asked. Simulated."""

    def __init__(self, data: bytes) -> None:
        super().__init__({"one": data})
        self._servers.append(serve(self, PeerRoutes, None, 0))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._servers[-1].server_address[1]}"


class PeerRoutes(Routes):
    role: ClassVar[str] = "peer"

    def route(self, path: str) -> None:
        self.send_file(self.hub.files["one"], f'"{sha(DATA)}"')


def beside(root: Path, hub: ModelHub, *addresses: str) -> Provision:
    """What works on a folder, with a hub and with peers."""
    asks = web(hub)
    for address in addresses:
        asks = replace(asks, trust=asks.trust.also(address))
    settings = TransferSettings(allow=asks.trust.allow, token_for=asks.trust.token_for, attempts=2)
    return Provision(of_folder(root), asks, settings, peers=peers.Peers(addresses))


def had(work: Provision, model: ModelEntry) -> Outcome:
    (outcome,) = work.fetch(work.plan(work.check(wanted(model))).fetch)
    return outcome


def test_a_peer_that_lies_is_found_out_and_the_source_is_asked(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub, Peer(OTHER) as peer:
        outcome = had(beside(tmp_path, hub, peer.address), entry(data=DATA))
        assert outcome.ok and outcome.sha256 == sha(DATA), outcome
        assert {item.path for item in peer.asked("peer")} == {f"/sha256/{sha(DATA)}"}


def test_a_peer_is_no_source_of_a_hash(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub, Peer(OTHER) as peer:
        model = entry(urls=(hub.plain_url(NAME),))
        outcome = had(beside(tmp_path, hub, peer.address), model)
        assert outcome.sha256 == sha(DATA) and outcome.trust_on_first_use, "the source goes before it"
        assert {item.path for item in peer.asked("peer")} == {"/models/loras/a.safetensors"}
        Path(outcome.path).unlink()
        peer.put("one", weights(60_000))
        hub.files.clear()
        failed = had(beside(tmp_path, hub, peer.address), replace(model, size=len(DATA)))
        assert not failed.ok, "a file of another size is not the model"


def test_peers_that_are_not_there_cost_nothing_but_the_try(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        assert had(beside(tmp_path, hub, "http://127.0.0.1:9"), entry(data=DATA)).ok


@pytest.mark.parametrize("text", ["gpu2:8190", "ftp://gpu2", "http://gpu2:8190/models", "http://me:pw@gpu2"])
def test_a_setting_that_names_no_peer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="'peers'"):
        peers.parse(text)


async def test_what_a_share_knows_follows_its_folder(tmp_path: Path) -> None:
    model = entry(data=DATA)
    shelf = Shelf(of_folder(tmp_path))
    path = put(tmp_path, model, DATA)
    async with sharing(shelf, Listen("127.0.0.1", 0, "0123456789abcdef"), every=3600.0):
        shelf.look()
        assert len(shelf) == 1 and (found := shelf.by_hash(sha(DATA))) is not None and found.path == path
        path.write_bytes(OTHER)
        assert not found.is_still(path.stat())
        shelf.look()
        assert shelf.by_hash(sha(DATA)) is None
        assert (named := shelf.by_name("loras/a.safetensors")) is not None and named.sha256 == sha(OTHER)


async def test_a_share_that_cannot_listen_says_why(tmp_path: Path) -> None:
    shelf = Shelf(of_folder(tmp_path))
    async with sharing(shelf, Listen("127.0.0.1", 0, "0123456789abcdef")) as url:
        taken = int(url.rpartition(":")[2])
        with pytest.raises(PortInUseError, match="in use"):
            async with sharing(shelf, Listen("127.0.0.1", taken, "0123456789abcdef")):
                pass
    with pytest.raises(UsageError, match="at least 16"):
        async with sharing(shelf, Listen("127.0.0.1", 0, "short")):
            pass
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"no\.pem"):
        async with sharing(shelf, Listen("127.0.0.1", 0, "0123456789abcdef", tmp_path / "no.pem", tmp_path / "no.pem")):
            pass


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        *(("", (0, 100)), ("bytes=0-9", (0, 10)), ("bytes=90-", (90, 100)), ("bytes=-5", (95, 100))),
        *(("bytes=50-500", (50, 100)), ("bytes=-500", (0, 100)), ("bytes=100-", None), ("bytes=9-5", None)),
        *(("bytes=-0", None), ("bytes=-", (0, 100)), ("bytes=0-1,5-6", (0, 100)), ("items=0-1", (0, 100))),
        ("bytes=" + 5000 * "1" + "-", (0, 100)),
    ],
)
def test_ranges_of_a_share(asked: str, span: tuple[int, int] | None) -> None:
    assert span_of(asked, 100) == span


def test_a_file_of_a_share_counts_by_name_and_size_and_is_proven_by_its_hash(tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    put(nas, entry(), OTHER, "wrong")
    put(nas, entry(), weights(10), "short")
    right = put(nas, entry(), DATA, "right")
    folders = ModelFolders((tmp_path / "not mounted", nas))
    outcome = had(provision(tmp_path / "m", folders=folders), entry(data=DATA))
    assert outcome.ok and outcome.sha256 == sha(DATA) and right.read_bytes() == DATA
    assert list(folders.find(entry())) == [], "a name alone proves nothing"
    best = put(nas, entry(), DATA, "deep/loras")
    assert next(ModelFolders((nas,)).find(entry(data=DATA))) == best


@pytest.fixture
def other_volume(tmp_path: Path) -> Iterator[Path]:
    """A folder of another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_a_file_of_another_volume_is_copied_while_it_is_proven(tmp_path: Path, other_volume: Path) -> None:
    put(other_volume, entry(), OTHER, "a")
    put(other_volume, entry(), DATA, "b")
    work = provision(tmp_path, folders=ModelFolders((other_volume,)))
    told: list[tuple[str, int, int]] = []
    plan = work.plan(work.check(wanted(entry(data=DATA))))
    (outcome,) = work.fetch(plan.fetch, lambda now: told.append((now.status, now.downloaded_bytes, now.total_bytes)))
    assert (outcome.how, outcome.sha256, outcome.trust_on_first_use) == ("copied", sha(DATA), False)
    assert told[-1] == ("completed", len(DATA), len(DATA))
    assert [path.name for path in (tmp_path / "loras").iterdir()] == ["a.safetensors"], "nothing else is left"


def test_a_file_whose_hash_nobody_promised_is_trusted_on_first_use(tmp_path: Path) -> None:
    put(tmp_path / "nas", entry(), DATA)
    work = provision(tmp_path / "m", folders=ModelFolders((tmp_path / "nas",)))
    plan = work.plan(work.check(wanted(entry(size=len(DATA)))), ask=False)
    (outcome,) = work.fetch(plan.fetch)
    assert outcome.ok and outcome.trust_on_first_use
