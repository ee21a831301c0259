"""What a person has already: files put in place, lists of other tools, files fetched by hand, leftovers."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from comfyops.errors import CatalogError, ComfyOpsError, IntegrityError
from comfyops.models import importing, lists, manual, stamps, storage, tidy
from comfyops.models.catalog import Catalog
from comfyops.models.transfer.partial import places
from comfyops.support.locks import locked
from tests.unit.models.shelf import entry, put, sha, weights

DATA = weights(3000)
MODEL = entry(data=DATA)
CATALOG = Catalog({item.id: item for item in (MODEL, entry("open.safetensors"))})
LINKS = """
# Modèles FLUX.2
vae:
https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/vae/flux2-vae.safetensors

- text_encoders/ : https://huggingface.co/o/r/blob/main/enc.safetensors?download=true
https://huggingface.co/o/r/resolve/main/a.safetensors
models/loras/ https://civitai.com/api/download/models/5
[berthe](https://huggingface.co/ostris/x/resolve/main/berthe.safetensors) -> models/loras
https://example.org/page.html
"""
COMFY_LOCK = """
basic:
models:
  - model: Some LoRA
    url: https://huggingface.co/o/r/resolve/main/lora.safetensors
    paths:
      - path: models/loras/lora.safetensors
    hashes:
      - {hash: "HASH", type: SHA256}
  - model: odd.safetensors
    url: https://huggingface.co/o/r/resolve/main/odd.safetensors
""".replace("HASH", sha(DATA))
COMFY_PACK = (
    '{"python": "3.11", "models": [{"filename": "models/vae/v.safetensors", "size": 3, "sha256": "HASH", '
    '"source": {"type": "huggingface", "url": "https://huggingface.co/o/r/resolve/abc/v.safetensors"}}]}'
).replace("HASH", sha(DATA))


def test_a_file_is_known_by_its_hash_else_by_name_where_no_hash_is_promised(tmp_path: Path) -> None:
    named = put(tmp_path, entry("x.safetensors"), DATA)
    found = importing.match(named, sha(DATA), CATALOG.models.values())
    assert found == MODEL
    assert (
        importing.match(put(tmp_path, entry("open.safetensors"), b"x"), "0" * 64, CATALOG.models.values()) is not None
    )
    assert importing.match(put(tmp_path, MODEL, b"x"), "0" * 64, CATALOG.models.values()) is None


def test_a_file_is_linked_into_its_place_and_stays_where_it_is(tmp_path: Path) -> None:
    mine = put(tmp_path, entry("mine.safetensors"), DATA, "downloads")
    shelf, marks = storage.of_folder(tmp_path / "models"), stamps.load(tmp_path / "none")
    placed = importing.place(mine, MODEL, shelf, marks)
    target = tmp_path / "models/loras/a.safetensors"
    assert placed.linked and target.samefile(mine)
    assert marks.hash_of(target, target.stat()) == sha(DATA)
    assert importing.place(mine, MODEL, shelf, marks).linked, "again is fine"
    assert [path.name for path in target.parent.iterdir()] == ["a.safetensors"]


def test_a_file_that_is_another_one_is_not_placed(tmp_path: Path) -> None:
    wrong = put(tmp_path, MODEL, weights(3000, seed=2), "downloads")
    for model in (MODEL, entry(size=5)):
        with pytest.raises(IntegrityError, match=r"is not loras/a\.safetensors"):
            importing.place(wrong, model, storage.of_folder(tmp_path / "m"), stamps.load(tmp_path / "none"))
    with pytest.raises(ComfyOpsError):
        importing.place(tmp_path / "none", MODEL, storage.of_folder(tmp_path / "m"), stamps.load(tmp_path / "none"))
    assert not (tmp_path / "m").exists()


def test_a_list_of_links_is_read_with_the_folders_near_them(tmp_path: Path) -> None:
    (tmp_path / "models_links.txt").write_text(LINKS)
    found = lists.read(tmp_path / "models_links.txt", CATALOG)
    assert [item.id for item in found.models] == [
        "vae/flux2-vae.safetensors",
        "text_encoders/enc.safetensors",
        "loras/a.safetensors",
        "loras/berthe.safetensors",
    ]
    assert found.models[1].urls == ("https://huggingface.co/o/r/resolve/main/enc.safetensors",)
    assert [item.what for item in found.unread] == [
        "https://civitai.com/api/download/models/5",
        "https://example.org/page.html",
    ]
    assert all("models add URL" in item.why for item in found.unread)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_list_that_was_written_on_windows_is_read(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = f"{mark}vae\r\nhttps://huggingface.co/org/repo/resolve/main/v.safetensors\r\n"
    (tmp_path / "models_links.txt").write_bytes(text.encode(encoding))
    (model,) = lists.read(tmp_path / "models_links.txt", CATALOG).models
    assert model.id == "vae/v.safetensors" and model.urls[0].endswith("/v.safetensors")


def test_comfy_lock_and_comfy_pack_are_read(tmp_path: Path) -> None:
    (tmp_path / "comfy-lock.yaml").write_text(COMFY_LOCK)
    found = lists.read(tmp_path / "comfy-lock.yaml", CATALOG)
    assert [(item.id, item.sha256) for item in found.models] == [("loras/lora.safetensors", sha(DATA))]
    assert "No folder is named for odd.safetensors" in found.unread[0].why
    (tmp_path / "snapshot.json").write_text(COMFY_PACK)
    (model,) = lists.read(tmp_path / "snapshot.json", CATALOG).models
    assert (model.id, model.size, model.urls) == (
        "vae/v.safetensors",
        3,
        ("https://huggingface.co/o/r/resolve/abc/v.safetensors",),
    )


def test_of_a_snapshots_two_addresses_that_of_the_file_counts_and_files_of_packs_are_named(tmp_path: Path) -> None:
    page = {
        "url": "https://huggingface.co/o/r",
        "download_url": "https://huggingface.co/o/r/resolve/main/v.safetensors",
    }
    models = [
        {"filename": "models/vae/v.safetensors", "sha256": sha(DATA), "source": page},
        {"filename": "custom_nodes/pack/weights/y.pth", "sha256": sha(DATA), "source": page},
    ]
    (tmp_path / "snapshot.json").write_text(json.dumps({"models": models}))
    found = lists.read(tmp_path / "snapshot.json", CATALOG)
    assert [(item.id, item.urls) for item in found.models] == [("vae/v.safetensors", (page["download_url"],))]
    assert "pack of custom nodes" in found.unread[0].why


@pytest.mark.parametrize(
    ("name", "text"), [("x.yaml", "a: 1"), ("x.json", "[]"), ("x.txt", "no link"), ("x.yaml", "a: [")]
)
def test_a_list_of_no_known_kind_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ComfyOpsError) as caught:
        lists.read(tmp_path / name, CATALOG)
    assert caught.value.code in (CatalogError.code, "not_json")


def test_a_hostile_list_cannot_name_places_outside(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "models: [{model: x, url: 'https://x/y', paths: [{path: 'models/loras/../../e.pt'}]}]"
    )
    found = lists.read(tmp_path / "x.yaml", CATALOG)
    assert found.models == () and "not safe" in found.unread[0].why


def test_files_fetched_by_hand_are_seen_when_they_are_whole(tmp_path: Path) -> None:
    steps = manual.steps([MODEL, entry("open.safetensors", page="https://example.org")], storage.of_folder(tmp_path))
    assert steps[0].page == "https://huggingface.co/org/repo" and steps[1].page == "https://example.org"

    def person() -> None:
        put(tmp_path, MODEL, DATA[:50])
        put(tmp_path, entry("open.safetensors"), DATA)
        put(tmp_path, MODEL, DATA)

    thread = threading.Thread(target=person)
    thread.start()
    seen = [step.entry.id for step in manual.arrivals(steps, timeout=20, every=0.01)]
    thread.join()
    assert sorted(seen) == ["loras/a.safetensors", "loras/open.safetensors"]
    assert (
        list(manual.arrivals(manual.steps([entry("never.safetensors")], storage.of_folder(tmp_path)), timeout=0)) == []
    )


def test_a_file_that_grows_no_longer_and_is_not_whole_is_waited_for(tmp_path: Path) -> None:
    steps = manual.steps([entry("open.safetensors")], storage.of_folder(tmp_path))
    put(tmp_path, entry("open.safetensors"), DATA[:-1])
    assert list(manual.arrivals(steps, timeout=0.1, every=0.01)) == []
    put(tmp_path, entry("open.safetensors"), DATA)
    assert [step.entry.id for step in manual.arrivals(steps, timeout=20, every=0.01)] == ["loras/open.safetensors"]


def test_only_old_leftovers_are_removed_and_no_model(tmp_path: Path) -> None:
    model = put(tmp_path, MODEL, DATA)
    part = put(tmp_path, entry(".a.safetensors.0123abcd.part"), b"1234")
    quarantined = put(tmp_path, entry(".comfyops-quarantine/a.safetensors"), b"123456")
    young = put(tmp_path, entry(".b.safetensors.0123abcd.part.json"), b"{}")
    os.utime(young)
    plan = tidy.plan(storage.of_folder(tmp_path), older_than=60.0)
    assert {Path(item.path).name for item in plan.remove} == {".a.safetensors.0123abcd.part", ".comfyops-quarantine"}
    assert (plan.total, [Path(item.path) for item in plan.kept]) == (10, [young])
    plan.execute()
    assert model.exists() and young.exists() and not part.exists() and not quarantined.exists()


def test_what_is_being_fetched_is_no_leftover(tmp_path: Path) -> None:
    names = places(tmp_path / "loras" / "a.safetensors", "a" * 64)
    put(tmp_path, entry(names.part.name), b"1234")
    put(tmp_path, entry(names.journal.name), b"{}")
    there = storage.of_folder(tmp_path)
    with locked(names.lock, 1.0):
        plan = tidy.plan(there, older_than=0.0)
        assert not plan.remove and len(plan.kept) == 2
    names.lock.touch()  # of a process that was killed
    assert {Path(item.path) for item in tidy.plan(there, older_than=0.0).remove} == {names.part, names.journal}


def test_a_link_in_the_place_of_quarantine_is_removed_and_what_it_names_kept(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", entry("x.safetensors"), b"1234")
    (tmp_path / "models" / "loras").mkdir(parents=True)
    link = tmp_path / "models" / "loras" / ".comfyops-quarantine"
    link.symlink_to(outside.parent)
    plan = tidy.plan(storage.of_folder(tmp_path / "models"), older_than=0.0)
    assert [item.path for item in plan.remove] == [str(link)]
    plan.execute()
    assert outside.exists() and not link.is_symlink()
