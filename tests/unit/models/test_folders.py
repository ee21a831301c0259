from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.errors import InputError, MissingFileError, NotJsonError
from comfyops.models.folders import canonical, extra_paths, folders_of


def written(folder: Path, text: str, name: str = "extra_model_paths.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_old_names_of_folders_mean_the_new_ones() -> None:
    assert (canonical("clip"), canonical("unet"), canonical("loras")) == ("text_encoders", "diffusion_models", "loras")


def test_the_folders_of_an_installation_are_those_that_comfyui_looks_into(tmp_path: Path) -> None:
    paths = folders_of(tmp_path).paths
    assert paths["checkpoints"] == (tmp_path / "models/checkpoints", tmp_path / "output/checkpoints")
    names = [path.relative_to(tmp_path).as_posix() for path in paths["text_encoders"]]
    assert names == ["models/text_encoders", "models/clip", "output/clip"]
    names = [path.relative_to(tmp_path).as_posix() for path in paths["diffusion_models"]]
    assert names == ["models/unet", "models/diffusion_models", "output/diffusion_models"]


def test_extra_paths_are_relative_to_their_base_and_may_be_several(tmp_path: Path) -> None:
    text = "a111:\n  base_path: /data/webui\n  checkpoints: models/Stable-diffusion\n"
    text += "  loras: |\n    models/Lora\n    models/LyCORIS\n  clip: /other/clip\n  custom_nodes: nodes\n"
    found = {(name, path.as_posix(), first) for name, path, first in extra_paths(written(tmp_path, text))}
    assert found == {
        ("checkpoints", "/data/webui/models/Stable-diffusion", False),
        ("loras", "/data/webui/models/Lora", False),
        ("loras", "/data/webui/models/LyCORIS", False),
        ("text_encoders", "/other/clip", False),
    }


def test_a_relative_base_starts_at_the_file(tmp_path: Path) -> None:
    ((name, path, _),) = extra_paths(written(tmp_path, "x:\n  base_path: ../shared\n  vae: v\n"))
    assert (name, path) == ("vae", tmp_path.parent / "shared" / "v")


def test_default_paths_go_first_and_new_folders_are_added(tmp_path: Path) -> None:
    written(tmp_path, "x:\n  is_default: true\n  base_path: /m\n  vae: vae\n  ipadapter: ip\n")
    more = written(tmp_path, "y:\n  vae: /last\n", "more.yaml")
    paths = folders_of(tmp_path, [more]).paths
    assert [path.as_posix() for path in (paths["vae"][0], paths["vae"][-2])] == ["/m/vae", "/last"]
    assert paths["ipadapter"] == (Path("/m/ip"),)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("base_path: ${PLACE}/m\n  loras: L\n", ["/data/m/L"]),
        ("base_path: ~/m\n  loras: L\n", ["/home/me/m/L"]),
        ("base_path: /d\n  loras: ~/L\n", ["/d/~/L"]),
        ("base_path: /d\n  loras: $PLACE/L\n", ["/d/$PLACE/L"]),
        ("base_path: /d # here\n  # loras: no\n  loras: L # yes\n", ["/d/L"]),
        ("base_path: /d\n  loras: |\n    L\n\n    M N\n", ["/d/L", "/d/M N"]),
        ("base_path: /d\n  loras: >\n    L\n    M\n", ["/d/L M"]),
        ("loras: /q/L\n", ["/q/L"]),
        ("base_path: ''\n  loras: L\n", ["{here}/L"]),
        ("base_path: /d/./e/..\n  loras: ./L/\n", ["/d/L"]),
    ],
)
def test_odd_forms_mean_what_comfyui_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, expected: list[str]
) -> None:
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    found = [path.as_posix() for _, path, _ in extra_paths(written(tmp_path, f"x:\n  {lines}"))]
    assert found == [text.format(here=tmp_path.as_posix()) for text in expected]


@pytest.mark.parametrize("value", ["true", "yes", "1", "'false'"])
def test_what_python_takes_for_true_makes_paths_the_first(tmp_path: Path, value: str) -> None:
    """Also where another section has named the path before; folders of outputs come last."""
    written(tmp_path, f"x:\n  loras: /a\ny:\n  is_default: {value}\n  loras: /a\nz:\n  loras: /b\n")
    paths = [path.as_posix() for path in folders_of(tmp_path).paths["loras"]]
    assert paths == ["/a", f"{tmp_path}/models/loras", "/b", f"{tmp_path}/output/loras"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "comfyui:\n"])
def test_a_file_that_says_nothing_adds_nothing(tmp_path: Path, text: str) -> None:
    assert extra_paths(written(tmp_path, text)) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x: [", NotJsonError),
        ("x: {a: 1}\n  y", NotJsonError),
        ("\x00", NotJsonError),
        ("[" * 5000, NotJsonError),
        ("x: !!bool maybe", NotJsonError),
        ("x: !!float ''", NotJsonError),
        ("x: !!timestamp never", NotJsonError),
        ("x: {base_path: &a [*a]}", NotJsonError),
        ("\n".join(["a0: &a0 {b: c}", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]" for n in range(1, 12))]), NotJsonError),
        ("- a\n- b\n", InputError),
        ("x: 7\n", InputError),
        ("x:\n  loras: [a, b]\n", InputError),
        ('x:\n  loras: "a\\0b"\n', InputError),
        ("x: " + "a" * 2_000_000, InputError),
    ],
)
def test_a_file_that_names_no_folders_is_refused_with_its_name(
    tmp_path: Path, text: str, error: type[InputError]
) -> None:
    with pytest.raises(error, match=r"extra_model_paths\.yaml"):
        extra_paths(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        folders_of(tmp_path, [tmp_path / "none.yaml"])
