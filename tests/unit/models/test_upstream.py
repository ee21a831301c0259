"""A pin that no longer matches its source, for every kind of source; and how often a source is asked."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from comfyops.models import storage
from comfyops.models.entry import ModelEntry
from comfyops.models.provision import Outcome, Provision
from comfyops.models.sources import Web, buckets
from comfyops.models.transfer.request import TransferSettings
from comfyops.models.trust import Trust
from comfyops.testing.model_hub import Faults, ModelHub
from comfyops.testing.object_store import ObjectStore
from tests.unit.models.shelf import HF, entry, provision, sha, wanted, web, weights

DATA = weights(50_000)
OTHER = weights(50_000, seed=1)
LONGER = weights(60_000, seed=2)
NAME = "org/repo/a.safetensors"


def had(work: Provision, model: ModelEntry) -> Outcome:
    """The outcome of having a model; that of its plan where nothing was fetched."""
    plan = work.plan(work.check(wanted(model)))
    for item in plan.blocked:
        return Outcome(item.entry, False, "", code=item.code, message=item.message, hint=item.hint)
    (outcome,) = work.fetch(plan.fetch)
    return outcome


def says_changed(outcome: Outcome) -> bool:
    return not outcome.ok and outcome.code == "upstream_changed" and not Path(outcome.path or "/none").exists()


@pytest.mark.parametrize("new", [OTHER, LONGER], ids=["other bytes", "another size"])
@pytest.mark.parametrize("kind", ["huggingface", "civitai", "url"])
def test_a_pin_that_upstream_left_is_told(kind: str, new: bytes, tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        urls = {
            "huggingface": f"{HF}/{NAME.replace('/a', '/resolve/main/a')}",
            "civitai": f"https://civitai.com/api/download/models/{hub.files[NAME].civitai_id}",
            "url": hub.plain_url(NAME),
        }
        model = entry(urls=(urls[kind],))
        first = had(provision(tmp_path, hub), model)
        assert first.ok, "what it was is remembered: size, hash, and the source's name of its state"
        Path(first.path).unlink()
        hub.put(NAME, new)
        outcome = had(provision(tmp_path, hub), replace(model, size=len(DATA), sha256=sha(DATA)))
    assert says_changed(outcome), outcome


@pytest.mark.parametrize("new", [OTHER, LONGER], ids=["other bytes", "another size"])
@pytest.mark.parametrize("promised", [True, False], ids=["hash in metadata", "no hash"])
def test_an_object_that_was_replaced_is_told(
    new: bytes, promised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ObjectStore({"weights/a": DATA}, public=frozenset({"weights"})) as store:
        asks = Web(Trust(), buckets=buckets.parse(f"s3://weights?endpoint={store.endpoint}&anonymous"))
        store.metadata["weights/a"] = {"sha256": sha(DATA)} if promised else {}
        model = entry(urls=("s3://weights/a",))
        settings = TransferSettings(allow=asks.trust.allow, attempts=2)
        first = had(Provision(storage.of_folder(tmp_path), asks, settings), model)
        assert first.ok
        Path(first.path).unlink()
        store.put("weights/a", new)
        store.metadata["weights/a"] = {"sha256": sha(new)} if promised else {}
        pinned = replace(model, size=len(DATA), sha256=sha(DATA))
        assert says_changed(had(Provision(storage.of_folder(tmp_path), asks, settings), pinned))


def test_a_file_that_was_replaced_is_told(tmp_path: Path) -> None:
    source = tmp_path / "a.safetensors"
    model = entry(data=DATA, urls=(source.as_uri(),))
    for new in (OTHER, LONGER):
        source.write_bytes(new)
        assert says_changed(had(provision(tmp_path / "m"), model))
    source.unlink()
    outcome = had(provision(tmp_path / "m"), model)
    assert not outcome.ok and "is not there" in outcome.message


def test_bytes_that_came_wrong_are_no_change_of_upstream(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(wrong_at=30_000)) as hub:
        for url in (f"{HF}/org/repo/resolve/main/a.safetensors", hub.plain_url(NAME)):
            assert had(provision(tmp_path, hub), entry(data=DATA, urls=(url,))).code == "integrity"


def asked(hub: ModelHub, role: str) -> list[str]:
    """What was asked of a hub, once it has noted the end of the last answer."""
    deadline = time.monotonic() + 10
    while sum(item.sent for item in hub.asked()) < len(DATA) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [item.method for item in hub.asked(role)]


def test_a_file_of_which_nothing_is_known_costs_one_question(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        assert had(provision(tmp_path / "a", hub), entry()).ok
        assert asked(hub, "hub") == ["HEAD"] and asked(hub, "store") == ["GET"]
        hub.requests.clear()
        assert had(provision(tmp_path / "b", hub), entry(urls=(hub.plain_url(NAME),))).ok
        assert asked(hub, "hub") == ["HEAD", "GET"]


def test_an_answer_that_is_no_longer_fresh_is_asked_for_anew(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(signed_seconds=0.0)) as hub:
        work = provision(tmp_path, hub)
        plan = work.plan(work.check(wanted(entry())))
        hub.faults = Faults()  # the address in the first answer has run out
        (outcome,) = work.fetch(plan.fetch)
        assert outcome.ok and asked(hub, "hub") == ["HEAD", "HEAD"]


def test_an_answer_leads_to_no_host_that_is_not_trusted(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        asks = web(hub)
        only_hub = replace(asks, trust=replace(asks.trust, own=frozenset({hub.endpoint.partition("//")[2]})))
        settings = TransferSettings(allow=only_hub.trust.allow, attempts=2)
        outcome = had(Provision(storage.of_folder(tmp_path), only_hub, settings), entry())
        assert outcome.code == "untrusted_source" and not hub.asked("store")
