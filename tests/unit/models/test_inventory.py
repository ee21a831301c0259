from __future__ import annotations

from pathlib import Path

from comfyops.models.folders import folders_of
from comfyops.models.inventory import Inventory, scan


def put(path: Path, size: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def names(inventory: Inventory) -> list[tuple[str, str]]:
    return [(item.folder, item.name) for item in inventory.files]


def test_every_folder_is_looked_through_with_all_below_it(tmp_path: Path) -> None:
    put(tmp_path / "models/checkpoints/a.safetensors", 5)
    put(tmp_path / "models/checkpoints/sdxl/deep/b.ckpt", 7)
    put(tmp_path / "models/clip/t5.safetensors")
    put(tmp_path / "models/unet/flux.gguf")
    found = scan(folders_of(tmp_path))
    assert names(found) == [
        ("checkpoints", "a.safetensors"),
        ("checkpoints", "sdxl/deep/b.ckpt"),
        ("diffusion_models", "flux.gguf"),
        ("text_encoders", "t5.safetensors"),
    ]
    assert [item.size for item in found.files[:2]] == [5, 7] and found.total == 14


def test_other_files_and_hidden_stores_are_no_models(tmp_path: Path) -> None:
    put(tmp_path / "models/loras/put_loras_here")
    put(tmp_path / "models/loras/a.txt")
    put(tmp_path / "models/loras/.git/x.safetensors")
    put(tmp_path / "models/loras/A.SafeTensors")
    assert names(scan(folders_of(tmp_path))) == [("loras", "A.SafeTensors")]


def test_the_first_of_two_files_of_one_name_counts(tmp_path: Path) -> None:
    put(tmp_path / "models/vae/a.safetensors", 1)
    put(tmp_path / "shared/a.safetensors", 2)
    (tmp_path / "extra_model_paths.yaml").write_text("x:\n  is_default: true\n  vae: shared\n")
    (item,) = scan(folders_of(tmp_path)).files
    assert item.size == 2 and item.path == str(tmp_path / "shared/a.safetensors")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    target = put(tmp_path / "store/big.safetensors", 3)
    folder = tmp_path / "models/loras"
    folder.mkdir(parents=True)
    (folder / "linked.safetensors").symlink_to(target)
    (folder / "again").symlink_to(folder)
    (folder / "store").symlink_to(tmp_path / "store")
    found = scan(folders_of(tmp_path))
    assert names(found) == [("loras", "linked.safetensors"), ("loras", "store/big.safetensors")]


def test_a_link_to_nothing_is_listed_without_a_size(tmp_path: Path) -> None:
    folder = tmp_path / "models/vae"
    folder.mkdir(parents=True)
    (folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    found = scan(folders_of(tmp_path))
    assert [(item.name, item.size) for item in found.files] == [("gone.safetensors", None)]
    assert found.unreadable == (str(folder / "gone.safetensors"),)


def test_an_installation_without_models_is_empty(tmp_path: Path) -> None:
    assert scan(folders_of(tmp_path)) == Inventory(())
