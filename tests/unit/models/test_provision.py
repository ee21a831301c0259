"""Models checked, planned, fetched from a simulated hub, and remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from comfyops.errors import CatalogError
from comfyops.models import lock as locks
from comfyops.models.check import State
from comfyops.models.lock import Lock, Pin
from comfyops.testing.model_hub import Faults, ModelHub
from tests.unit.models.shelf import HF, entry, provision, put, sha, wanted, weights

DATA = weights(50_000)
OTHER = weights(50_000, seed=1)


def states(found: tuple[object, ...]) -> list[State]:
    return [item.state for item in found]  # type: ignore[attr-defined]


def test_a_missing_model_is_fetched_verified_and_remembered(tmp_path: Path) -> None:
    model = entry(data=DATA)
    with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
        work = provision(tmp_path, hub)
        findings = work.check(wanted(model))
        assert states(findings) == [State.MISSING] and findings[0].bad
        (outcome,) = work.fetch(work.plan(findings).fetch)
        assert outcome.ok and outcome.how == "fetched" and outcome.sha256 == sha(DATA), outcome
    assert (tmp_path / "loras/a.safetensors").read_bytes() == DATA
    later = provision(tmp_path)
    assert states(later.check(wanted(model))) == [State.VERIFIED]


def test_what_nobody_knows_is_asked_of_the_source_and_remembered(tmp_path: Path) -> None:
    model = entry()
    with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
        work = provision(tmp_path, hub)
        plan = work.plan(work.check(wanted(model)))
        assert (plan.total, plan.unknown) == (len(DATA), 0)
        assert plan.fetch[0].entry.sha256 == sha(DATA)
        again = provision(tmp_path)
        assert again.plan(again.check(wanted(model))).total == len(DATA), "it counts where no source answers"
        pin = locks.load(tmp_path / ".comfyops/models.lock.json").pins["loras/a.safetensors"]
    assert (pin.sha256, pin.size, pin.revision, pin.said_by) == (sha(DATA), len(DATA), hub.commit, "source")


def test_a_changed_upstream_is_said_and_nothing_is_fetched(tmp_path: Path) -> None:
    model = entry(data=DATA)
    with ModelHub({"org/repo/a.safetensors": OTHER}) as hub:
        work = provision(tmp_path, hub)
        half = replace(model, size=None)
        (blocked,) = work.plan(work.check(wanted(half))).blocked
        assert blocked.code == "upstream_changed" and "Upstream changed" in blocked.message
        (outcome,) = work.fetch(work.plan(work.check(wanted(model))).fetch)
        assert not outcome.ok and not (tmp_path / "loras/a.safetensors").exists(), outcome
        assert outcome.code in ("upstream_changed", "integrity"), outcome


def test_what_a_source_said_once_is_no_promise(tmp_path: Path) -> None:
    with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
        work = provision(tmp_path, hub)
        work.plan(work.check(wanted(entry())))
        hub.put("org/repo/a.safetensors", OTHER)
        later = provision(tmp_path, hub)
        (outcome,) = later.fetch(later.plan(later.check(wanted(entry()))).fetch)
    assert outcome.ok and (tmp_path / "loras/a.safetensors").read_bytes() == OTHER, outcome


def test_a_hash_of_first_use_holds_from_then_on(tmp_path: Path) -> None:
    with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
        model = entry(urls=(hub.plain_url("org/repo/a.safetensors"),))
        work = provision(tmp_path, hub)
        (outcome,) = work.fetch(work.plan(work.check(wanted(model))).fetch)
        assert outcome.ok and outcome.trust_on_first_use
        (tmp_path / "loras/a.safetensors").unlink()
        hub.put("org/repo/a.safetensors", OTHER)
        later = provision(tmp_path, hub)
        (outcome,) = later.fetch(later.plan(later.check(wanted(model))).fetch)
    assert not outcome.ok and not (tmp_path / "loras/a.safetensors").exists(), outcome


def test_another_file_of_the_same_name_elsewhere_is_not_taken_for_the_model(tmp_path: Path) -> None:
    put(tmp_path, entry(data=DATA), DATA + b"more", "checkpoints")
    found = provision(tmp_path).check([*wanted(entry(data=DATA), required=False)])
    assert states(found) == [State.MISSING] and not found[0].bad


def test_a_second_source_is_taken_where_the_first_has_changed(tmp_path: Path) -> None:
    urls = (f"{HF}/org/repo/resolve/main/a.safetensors", f"{HF}/org/mirror/resolve/main/a.safetensors")
    model = replace(entry(data=DATA), urls=urls, size=None)
    with ModelHub({"org/repo/a.safetensors": OTHER, "org/mirror/a.safetensors": DATA}) as hub:
        work = provision(tmp_path, hub)
        plan = work.plan(work.check(wanted(model)))
        assert plan.fetch[0].entry.urls[0] == urls[1]
        (outcome,) = work.fetch(plan.fetch)
    assert outcome.ok and (tmp_path / "loras/a.safetensors").read_bytes() == DATA


@pytest.mark.parametrize("names", [("a", "gone"), ("gone", "a")])
def test_a_changed_upstream_is_said_though_another_source_is_gone(tmp_path: Path, names: tuple[str, str]) -> None:
    with ModelHub({"org/repo/a.safetensors": OTHER}) as hub:
        urls = tuple(f"{HF}/org/repo/resolve/main/{name}.safetensors" for name in names)
        worker = provision(tmp_path, hub)
        made = worker.plan(worker.check(wanted(entry(data=DATA, urls=urls))))
        (outcome,) = worker.fetch(made.fetch)
        assert outcome.code == "upstream_changed", outcome


def test_a_gated_model_says_page_and_variable(tmp_path: Path) -> None:
    with ModelHub({"org/repo/a.safetensors": DATA}, Faults(gated="GatedRepo", token="secret")) as hub:
        work = provision(tmp_path, hub)
        (blocked,) = work.plan(work.check(wanted(entry()))).blocked
    assert blocked.code == "gated"
    assert "https://huggingface.co/org/repo" in blocked.hint and "HF_TOKEN" in blocked.hint


def test_nothing_known_and_offline_is_still_a_plan(tmp_path: Path) -> None:
    work = provision(tmp_path)
    plan = work.plan(work.check(wanted(entry())), ask=False)
    assert (len(plan.fetch), plan.unknown, plan.blocked) == (1, 1, ())
    assert work.plan(work.check(wanted(entry()))).blocked[0].message.startswith("No source is asked while offline")


def test_a_model_without_an_address_is_said(tmp_path: Path) -> None:
    work = provision(tmp_path)
    (blocked,) = work.plan(work.check(wanted(entry(urls=())))).blocked
    assert "No address is known" in blocked.message


def test_wrong_bytes_are_replaced_and_right_ones_kept(tmp_path: Path) -> None:
    good, bad = entry(data=DATA), entry("b.safetensors", OTHER)
    put(tmp_path, good, DATA)
    put(tmp_path, bad, OTHER[:-1] + b"x")
    with ModelHub({"org/repo/a.safetensors": DATA, "org/repo/b.safetensors": OTHER}) as hub:
        work = provision(tmp_path, hub)
        assert states(work.check(wanted(good, bad))) == [State.PRESENT, State.PRESENT]
        found = work.check(wanted(good, bad), deep=True)
        assert states(found) == [State.VERIFIED, State.CORRUPT]
        outcomes = work.fetch(work.plan(found).fetch)
        assert [item.entry.file for item in outcomes] == ["b.safetensors"] and outcomes[0].ok, outcomes
        assert not [item for item in hub.asked() if "a.safetensors" in item.path]
    assert (tmp_path / "loras/b.safetensors").read_bytes() == OTHER


def test_optional_models_are_not_fetched_unless_they_are_wrong(tmp_path: Path) -> None:
    missing, wrong = entry(data=DATA), entry("b.safetensors", OTHER)
    put(tmp_path, wrong, OTHER[:-9])
    work = provision(tmp_path)
    findings = work.check(wanted(missing, wrong, required=False))
    plan = work.plan(findings)
    assert [item.entry.file for item in plan.fetch] == ["b.safetensors"]
    assert [item.bad for item in findings] == [False, True]


def test_a_misplaced_model_is_put_in_place_without_fetching(tmp_path: Path) -> None:
    model = entry(data=DATA)
    wrong = put(tmp_path, model, DATA, "checkpoints")
    work = provision(tmp_path)
    findings = work.check(wanted(model))
    assert states(findings) == [State.MISPLACED] and findings[0].bad
    (outcome,) = work.fetch(work.plan(findings).fetch)
    assert outcome.how == "linked" and (tmp_path / "loras/a.safetensors").samefile(wrong)


def test_a_file_of_this_machine_is_a_source(tmp_path: Path) -> None:
    share = tmp_path / "share" / "a.safetensors"
    share.parent.mkdir()
    share.write_bytes(DATA)
    work = provision(tmp_path / "models")
    (outcome,) = work.fetch(work.plan(work.check(wanted(entry(data=DATA, urls=(share.as_uri(),))))).fetch)
    assert outcome.ok and (tmp_path / "models/loras/a.safetensors").read_bytes() == DATA


def test_a_lock_goes_before_the_catalog(tmp_path: Path) -> None:
    lock = Lock(
        {"loras/a.safetensors": Pin(f"{HF}/org/repo/resolve/main/a.safetensors", len(OTHER), sha(OTHER), "abc")}
    )
    put(tmp_path, entry(), DATA)
    work = provision(tmp_path, pinned=lock)
    (found,) = work.check(wanted(entry(data=DATA)), deep=True)
    assert found.state is State.CORRUPT and found.entry.urls[0].endswith("/resolve/abc/a.safetensors")


def test_a_lock_is_written_sorted_and_read_back(tmp_path: Path) -> None:
    pins = {f"loras/{name}.safetensors": Pin(f"{HF}/o/r/resolve/main/x", 5, "0" * 64) for name in "ba"}
    locks.save(Lock(pins), tmp_path / "x.json")
    assert locks.load(tmp_path / "x.json").pins == pins
    assert list(json.loads((tmp_path / "x.json").read_text())["models"]) == sorted(pins)
    (tmp_path / "x.json").write_text(
        '{"schema": "models-lock/1", "models": {"loras/../../x.safetensors": {"url": "https://x"}}}'
    )
    with pytest.raises(Exception, match="not safe"):
        locks.load(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CatalogError):
        locks.load(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[" * 5000,
        '{"schema": "stamps/1", "files": {"x": [Infinity, 1, 1, "a"]}}',
        '{"schema": "models-lock/1", "models": {"loras/../x.safetensors": {"url": "https://huggingface.co/x"}}}',
    ],
)
def test_what_was_remembered_and_is_broken_now_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / ".comfyops").mkdir()
    for name in ("stamps.json", "models.lock.json"):
        (tmp_path / ".comfyops" / name).write_text(text)
    with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
        worker = provision(tmp_path, hub)
        (outcome,) = worker.fetch(worker.plan(worker.check(wanted(entry()))).fetch)
        assert outcome.ok
        assert states(provision(tmp_path, hub).check(wanted(entry()))) == [State.VERIFIED]


def test_a_model_that_cannot_be_read_blocks_the_plan(tmp_path: Path) -> None:
    place = tmp_path / "loras" / "a.safetensors"
    place.parent.mkdir()
    for target in ("a.safetensors", str(tmp_path / "outside.safetensors")):  # a circle, and one that leads out
        place.unlink(missing_ok=True)
        place.symlink_to(target)
        with ModelHub({"org/repo/a.safetensors": DATA}) as hub:
            worker = provision(tmp_path, hub)
            (found,) = worker.check(wanted(entry(data=DATA)))
            assert found.state is State.UNREADABLE and found.why
            made = worker.plan([found])
            assert [(item.required, item.code) for item in made.blocked] == [(True, "storage")], made
            assert not made.fetch and not made.optional
            (optional,) = worker.check(wanted(entry(data=DATA), required=False))
            assert [item.required for item in worker.plan([optional]).blocked] == [False]
    assert not (tmp_path / "outside.safetensors").exists()


def test_a_name_that_leads_out_through_a_link_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "models/loras").mkdir(parents=True)
    (tmp_path / "models/loras/sub").symlink_to(outside)
    work = provision(tmp_path / "models")
    (found,) = work.check(wanted(entry("sub/a.safetensors", DATA)))
    assert found.state is State.UNREADABLE and "through a link" in found.why
