"""Every fault of the simulated hub: either the exact file is in its place, or nothing is and the error says why."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from comfyops.models.transfer import FileRequest, FileResult, Transfers, TransferSettings
from comfyops.models.transfer.request import MIB
from comfyops.testing.model_hub import Faults, ModelHub, http_date
from tests.chaos.plans import content

NAME = "org/repo/model.safetensors"
DATA = content(24 * MIB)
SHA = hashlib.sha256(DATA).hexdigest()
SETTINGS = TransferSettings(stall_timeout=0.5, attempts=5)


def fetch(hub: ModelHub, folder: Path, *urls: str, sha256: str | None = SHA) -> FileResult:
    """The file from its address at the hub, or from others."""
    request = FileRequest("model", folder / "model.safetensors", urls or (hub.url(NAME),), sha256=sha256)
    (result,) = Transfers(SETTINGS).run([request])
    return result


def placed(folder: Path) -> bytes | None:
    """What lies in the file's place."""
    target = folder / "model.safetensors"
    return target.read_bytes() if target.exists() else None


def leftovers(folder: Path) -> list[str]:
    """Everything else that lies there."""
    return sorted(path.name for path in folder.iterdir() if path.name != "model.safetensors")


SURVIVED = {
    "nothing": Faults(),
    "throttle": Faults(throttle=20e6),
    "latency": Faults(latency=0.1),
    "drops": Faults(drop_after=(300_000, 3_000_000)),
    "resets": Faults(drop_after=(300_000, 3_000_000), reset=True),
    "stalls": Faults(stall_after=6_000_000),
    "ranges ignored": Faults(ignore_range=True),
    "a wrong Content-Range": Faults(wrong_content_range=True),
    "no validators": Faults(no_validators=True),
    "429 with seconds": Faults(statuses=tuple((role, 429, {"Retry-After": "1"}) for role in ("hub", "store"))),
    "503 with a date": Faults(statuses=(("store", 503, {"Retry-After": http_date(2)}),)),
    "500 and 502": Faults(statuses=(("hub", 500, {}), ("store", 502, {}), ("store", 500, {}))),
    "signed addresses expire": Faults(signed_seconds=0.3, throttle=2e6),
    "store forbids": Faults(statuses=(("store", 403, {}), ("store", 401, {}))),
}


@pytest.mark.parametrize("way", ["url", "civitai_url", "plain_url"])
@pytest.mark.parametrize("fault", SURVIVED)
def test_the_exact_file_is_placed_in_spite_of(fault: str, way: str, tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, SURVIVED[fault]) as hub:
        result = fetch(hub, tmp_path, getattr(hub, way)(NAME))
        assert result.error is None and result.sha256 == SHA
        assert placed(tmp_path) == DATA and leftovers(tmp_path) == []


REFUSED = {
    "a wrong byte": (Faults(wrong_at=12_345_678), "integrity"),
    "a page that asks for a login": (Faults(login_page=True), "gated"),
    "a gated repository": (Faults(gated="GatedRepo"), "gated"),
    "a private repository": (Faults(gated="RepoNotFound"), "gated"),
    "no such file": (Faults(always=("hub", 404)), "download"),
    "a hub that is always down": (Faults(always=("hub", 503)), "download"),
    "a store that is always down": (Faults(always=("store", 500)), "download"),
    "a store that never knows its own address": (Faults(always=("store", 403)), "download"),
    "redirects in circles": (Faults(redirects=True), "download"),
    "a wait of an hour": (Faults(statuses=(("hub", 429, {"Retry-After": "3600"}),)), "download"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_nothing_is_placed_where_there_is(fault: str, tmp_path: Path) -> None:
    faults, code = REFUSED[fault]
    with ModelHub({NAME: DATA}, faults) as hub:
        result = fetch(hub, tmp_path)
        assert result.error is not None and (result.ok, result.error.code) == (False, code)
        assert placed(tmp_path) is None
        assert "Signature" not in str(result.error) + str(result.error.facts)


def test_wrong_bytes_go_to_the_quarantine_with_evidence(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(wrong_at=5)) as hub:
        result = fetch(hub, tmp_path)
        assert leftovers(tmp_path) == [".comfyops-quarantine"]
        wrong = tmp_path / ".comfyops-quarantine" / "model.safetensors.wrong"
        evidence = json.loads(Path(f"{wrong}.json").read_text())
        assert evidence["expected_sha256"] == SHA and evidence["url"] == hub.url(NAME)
        assert evidence["actual_sha256"] == hashlib.sha256(wrong.read_bytes()).hexdigest() != SHA
        assert result.error is not None and result.error.facts["quarantine"] == str(wrong)


def test_a_file_that_was_good_stays_when_its_successor_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"an older version")
    with ModelHub({NAME: DATA}, Faults(wrong_at=5)) as hub:
        assert not fetch(hub, tmp_path).ok
        assert placed(tmp_path) == b"an older version"


@pytest.mark.parametrize("fault", [Faults(wrong_at=5), Faults(always=("hub", 404)), Faults(gated="GatedRepo")])
def test_a_mirror_helps(fault: Faults, tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, fault) as bad, ModelHub({NAME: DATA}) as good:
        result = fetch(bad, tmp_path, bad.url(NAME), good.url(NAME))
        assert result.ok and placed(tmp_path) == DATA


def test_a_file_that_changes_in_the_middle_is_never_a_mixture(tmp_path: Path) -> None:
    new = bytes(byte ^ 0xFF for byte in DATA)
    for after in (1, 3, 7):
        for way in ("url", "civitai_url"):
            folder = tmp_path / f"{way}-{after}"
            with ModelHub({NAME: DATA}, Faults(new_bytes_after=after, drop_after=(10**6, 5 * 10**6))) as hub:
                result = fetch(hub, folder, getattr(hub, way)(NAME), sha256=None)
                assert result.ok and placed(folder) == new


def test_a_pinned_file_that_changes_in_the_middle_is_said_to_have_changed(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}, Faults(new_bytes_after=3, drop_after=(10**6, 5 * 10**6))) as hub:
        result = fetch(hub, tmp_path)
        assert result.error is not None and result.error.code == "upstream_changed"
        assert placed(tmp_path) is None and leftovers(tmp_path) == []


def test_a_file_that_changed_between_two_runs_starts_anew(tmp_path: Path) -> None:
    new = content(len(DATA), 1)
    with ModelHub({NAME: DATA}, Faults(statuses=(), drop_after=(10**6, 10**6))) as hub:
        url = hub.url(NAME)
        transfers = Transfers(SETTINGS)
        hub.faults = replace(hub.faults, throttle=2e6)
        request = FileRequest("model", tmp_path / "model.safetensors", (url,))
        transfers.run([request], lambda progress: transfers.cancel() if progress.downloaded_bytes > 10**6 else None)
        assert [name for name in leftovers(tmp_path) if name.endswith(".part")]
        hub.put(NAME, new)
        hub.faults = Faults()
        result = fetch(hub, tmp_path, sha256=None)
        assert result.ok and placed(tmp_path) == new and leftovers(tmp_path) == []


def test_a_pin_that_no_longer_matches_is_said_before_any_byte(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub:
        result = fetch(hub, tmp_path, sha256="0" * 64)
        assert result.error is not None and result.error.code == "upstream_changed"
        assert result.error.facts["actual"] == SHA and hub.asked("store") == []
