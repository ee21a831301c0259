"""The lock of a workflow: written, read back, and what it says of packs and commits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comfyops.errors import CatalogError, InputError, NotJsonError, UnsafeNameError
from comfyops.execution import lock_check, workflow_lock
from comfyops.execution.workflow_lock import PackPin, Program, WorkflowLock, packs_of, program_in
from comfyops.models.lock import Lock, Pin
from comfyops.support.git_folders import commit_of
from comfyops.workflows import node_types
from comfyops.workflows.graph import Graph, GraphBuilder
from comfyops.workflows.packs import Pack
from comfyops.workflows.stated import Stated

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TYPES = node_types.shipped()
URL = "https://huggingface.co/org/repo/resolve/main/a.safetensors"
LOCK = WorkflowLock(
    "a.json",
    "1" * 64,
    Program("0.33.0", COMMIT),
    {"Pack": PackPin(("A", "B"), "https://example.org/pack", "1.0", COMMIT)},
    Lock({"loras/a.safetensors": Pin(URL, 10, "2" * 64, COMMIT)}),
)


def repository(folder: Path, head: str) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head + "\n")
    return folder


def faces() -> Graph:
    build = GraphBuilder()
    build.add("FaceDetailer", image="x")
    build.add("SaveImage", images=build.add("LoadImage", image="x.png")[0])
    return build.build()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "comfyops.lock"
    workflow_lock.save(LOCK, file)
    assert workflow_lock.load(file) == LOCK
    first = file.read_text()
    workflow_lock.save(workflow_lock.load(file), file)
    assert file.read_text() == first


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", NotJsonError),
        ("[" * 100_000, NotJsonError),
        ("{}", CatalogError),
        ('{"schema": "comfyops-lock/1", "models": []}', CatalogError),
        ('{"schema": "comfyops-lock/1", "nodes": {"a": 1}}', CatalogError),
        ('{"schema": "comfyops-lock/1", "comfyui": {"version": 0.33}}', CatalogError),
        ('<<<<<<< HEAD\n{"schema": "comfyops-lock/1"}', NotJsonError),
        (
            '{"schema": "comfyops-lock/1", "models": {"loras/../../x.safetensors": {"url": "https://a"}}}',
            UnsafeNameError,
        ),
        ('{"schema": "comfyops-lock/1", "models": {"loras/x.safetensors": {"url": 1}}}', CatalogError),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str, error: type[InputError]) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(error):
        workflow_lock.load(tmp_path / "lock")


def test_the_commit_is_read_from_gits_own_files(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    assert commit_of(repository(tmp_path / "detached", COMMIT)) == COMMIT
    branch = repository(tmp_path / "branch", "ref: refs/heads/main")
    assert commit_of(branch) == ""
    (branch / ".git" / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert commit_of(branch) == COMMIT
    loose = branch / ".git" / "refs" / "heads" / "main"
    loose.parent.mkdir(parents=True)
    loose.write_text(COMMIT[::-1] + "\n")
    assert commit_of(branch) == COMMIT[::-1]
    assert commit_of(repository(tmp_path / "odd", "ref: refs/../../secret")) == ""


def test_packs_are_what_the_workflow_says_and_its_folder_knows(tmp_path: Path) -> None:
    folder = repository(tmp_path / "custom_nodes" / "comfyui-impact-pack", COMMIT)
    (folder / "pyproject.toml").write_text('[project]\nversion = "8.1"\n')
    (folder / ".git" / "config").write_text('[remote "origin"]\n\turl = https://me:secret@example.org/pack\n')
    found = packs_of([faces()], TYPES, Stated(), tmp_path)
    assert found == {"ComfyUI-Impact-Pack": PackPin(("FaceDetailer",), "https://example.org/pack", "8.1", COMMIT)}
    said = Stated({"FaceDetailer": Pack("comfyui-impact-pack")})
    assert packs_of([faces()], TYPES, said, tmp_path)["comfyui-impact-pack"].url == "https://example.org/pack"
    assert packs_of([faces()], TYPES, said)["comfyui-impact-pack"] == PackPin(("FaceDetailer",))


def test_packs_lie_where_extra_paths_say_too(tmp_path: Path) -> None:
    for folder in ("custom_nodes/Own", "shared/nodes/Shared", "shared/nodes/own"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "extra_model_paths.yaml").write_text("x:\n  base_path: shared\n  custom_nodes: nodes\n  loras: l\n")
    found = workflow_lock.pack_folders(tmp_path)
    assert found == {"own": tmp_path / "custom_nodes/Own", "shared": tmp_path / "shared/nodes/Shared"}


def test_comfyuis_version_is_in_its_folder(tmp_path: Path) -> None:
    assert program_in(tmp_path) == Program()
    (repository(tmp_path, COMMIT) / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    assert program_in(tmp_path) == Program("0.33.0", COMMIT) and program_in(None, "1") == Program("1")


def test_a_lock_without_hash_or_revision_does_not_hold() -> None:
    assert all(row.ok for row in lock_check.itself(LOCK))
    for pin, words in (
        (Pin(URL, 10, "2" * 64), "lacks revision"),
        (Pin(URL, None, None, COMMIT), "lacks size and SHA-256"),
        (Pin("", 10, "2" * 64), "lacks address"),
    ):
        (row,) = lock_check.itself(replace(LOCK, models=Lock({"loras/a.safetensors": pin})))
        assert not row.ok and row.words == words


def test_another_version_of_a_program_does_not_hold() -> None:
    rows = list(lock_check.on_server(LOCK, TYPES, "0.8.0", ()))
    assert [(row.ok, row.kind) for row in rows] == [(False, "program"), (False, "nodes"), (False, "model")]
    assert rows[0].words == "0.8.0, not 0.33.0" and rows[1].words == "lacks A, B"


def test_in_what_a_preparation_differs_from_its_lock_is_told() -> None:
    here = workflow_lock.Program("0.33.0")
    assert not list(lock_check.differences(LOCK, LOCK.workflow, LOCK.sha256, replace(here, version="")))
    assert not list(lock_check.differences(replace(LOCK, comfyui=here), LOCK.workflow, LOCK.sha256, here))
    rows = lock_check.differences(LOCK, "other.json", "0" * 64, replace(here, version="0.8.0"))
    words = [row.words for row in rows]
    assert words == [f"is another file than the lock's, which was {LOCK.workflow}", "0.8.0, not 0.33.0"]


def test_pins_stay_as_they_are_and_what_they_lack_of_the_same_file_is_filled_in() -> None:
    new = Pin(URL, 10, "2" * 64, COMMIT, at="2026-01-01T00:00:00Z")
    for old, expected in (
        (Pin(URL, 10, "2" * 64, "f" * 40), None),
        (Pin(URL, 10, "3" * 64), None),
        (Pin("https://example.org/a.safetensors", 10), Pin("https://example.org/a.safetensors", 10, "2" * 64)),
        (Pin(URL), Pin(URL, 10, "2" * 64, COMMIT)),
        (Pin("", 10, "2" * 64), Pin(URL, 10, "2" * 64, COMMIT)),
    ):
        found = workflow_lock.kept(Lock({"loras/a": old, "loras/b": old}), {"loras/a": new, "loras/c": new})
        assert found.pins == {"loras/a": expected or old, "loras/b": old, "loras/c": new}
