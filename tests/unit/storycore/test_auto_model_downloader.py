"""StoryCore's documented downloader, with the documented way to add a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.storycore.auto_model_downloader import AutoModelDownloader, ModelInfo
from comfyops.testing.model_hub import ModelHub
from tests.unit.models.shelf import HF, weights

DATA = weights(5000)


class Mine(AutoModelDownloader):
    def _get_required_models(self) -> list[ModelInfo]:
        return [
            *super()._get_required_models(),
            ModelInfo(
                name="nouveau_modele.safetensors",
                url=f"{HF}/org/repo/resolve/main/nouveau_modele.safetensors",
                subfolder="loras",
                expected_size_mb=500,
            ),
        ]


class Alone(Mine):
    def _get_required_models(self) -> list[ModelInfo]:
        return super()._get_required_models()[-1:]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYOPS_HOME", str(tmp_path / "home"))


def test_the_documented_models_are_listed_with_their_true_sizes(tmp_path: Path) -> None:
    listed = {item.name: item for item in Mine(models_dir=tmp_path)._get_required_models()}
    assert len(listed) == 13
    assert listed["flux2_dev_fp8mixed.safetensors"].subfolder == "diffusion_models"
    assert listed["flux2_dev_fp8mixed.safetensors"].expected_size_mb == 33813
    assert [item.name for item in listed.values() if item.required] == [
        "flux2-vae.safetensors",
        "flux2_dev_fp8mixed.safetensors",
        "mistral_3_small_flux2_bf16.safetensors",
        "nouveau_modele.safetensors",
    ]
    assert not any(Mine(models_dir=tmp_path).check_models().values())


async def test_a_model_of_ones_own_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelHub({"org/repo/nouveau_modele.safetensors": DATA}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("COMFYOPS_MODEL_HOSTS", f"{hub.endpoint},{hub.store}")
        downloader = Alone(models_dir=tmp_path / "models")
        assert await downloader.check_and_download_models() == {"nouveau_modele.safetensors": True}
    assert (tmp_path / "models/loras/nouveau_modele.safetensors").read_bytes() == DATA
    assert downloader.check_models() == {"nouveau_modele.safetensors": True}
