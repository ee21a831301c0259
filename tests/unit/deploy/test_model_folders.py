"""Where a ComfyUI looks for models that is started with arguments of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.deploy.model_folders import storage_of
from comfyops.errors import MissingFileError, UsageError
from comfyops.models.places import Place


def test_without_arguments_models_lie_in_its_folder(tmp_path: Path) -> None:
    found = storage_of(Place(tmp_path, str(tmp_path)), ["--lowvram", "--preview-method", "auto"])
    assert found.root == tmp_path / "models"
    assert found.paths("loras") == (tmp_path / "models/loras", tmp_path / "output/loras")


@pytest.mark.parametrize("extra", [["--base-directory", "other"], ["--base-directory=other"], ["--base-dir", "other"]])
def test_another_base_has_models_and_outputs_of_its_own(tmp_path: Path, extra: list[str]) -> None:
    found = storage_of(Place(tmp_path, str(tmp_path)), ["--fast", *extra])
    assert found.root == tmp_path / "other/models"
    assert found.paths("vae") == (tmp_path / "other/models/vae", tmp_path / "other/output/vae")


def test_models_outputs_and_further_files_of_paths_are_honoured_and_the_last_word_counts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x:\n  loras: /a\n")
    (tmp_path / "b.yaml").write_text("x:\n  loras: /b\n  is_default: true\n")
    (tmp_path / "c.yaml").write_text("x:\n  loras: /c\n")
    found = storage_of(
        Place(tmp_path, str(tmp_path)),
        [
            *("--models-directory", "/m", "--base-directory", "b", "--output-directory", "out", "--models-dir", "/n"),
            *("--extra-model-paths-config", "a.yaml", "b.yaml", "--extra-model-paths-config", "c.yaml"),
        ],
    )
    paths = [path.as_posix() for path in found.paths("loras")]
    assert found.root == Path("/n") and paths == ["/b", "/n/loras", "/a", "/c", f"{tmp_path}/out/loras"]


def test_what_comfyui_could_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base-directory: expected one argument"):
        storage_of(Place(tmp_path, str(tmp_path)), ["--base-directory"])
    with pytest.raises(MissingFileError, match=r"none\.yaml"):
        storage_of(Place(tmp_path, str(tmp_path)), ["--extra-model-paths-config", "none.yaml"])
