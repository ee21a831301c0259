"""ComfyUI's own Python: found where it lies, asked what it sees."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from comfyops.deploy.python import ask, candidates, find_python
from comfyops.errors import LaunchError, MissingFileError
from tests.fake_comfyui import installation

ENVIRONMENT = dict(os.environ)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.skipif(os.name == "nt", reason="Windows names its programs otherwise")
def test_its_own_environment_goes_before_the_one_around_it(tmp_path: Path) -> None:
    root = tmp_path / "portable" / "ComfyUI"
    around = program(tmp_path / "portable" / "python_embeded" / "bin" / "python")
    assert find_python(root) == around
    conda = program(root / "conda" / "bin" / "python")
    assert find_python(root) == conda
    hidden = program(root / ".venv" / "bin" / "python")
    assert find_python(root) == hidden
    own = program(root / "venv" / "bin" / "python3")
    assert find_python(root) == own and own in candidates(root)


def test_a_given_python_or_its_environment_goes_before_all(tmp_path: Path) -> None:
    root = installation(tmp_path / "ComfyUI")
    other = program(tmp_path / "other" / "bin" / "python")
    assert find_python(root, other) == other and find_python(root, tmp_path / "other") == other
    assert find_python(root, Path("sh")).is_file()
    with pytest.raises(MissingFileError, match="no Python at"):
        find_python(root, tmp_path / "gone")


def test_without_any_it_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingFileError) as caught:
        find_python(installation(tmp_path / "ComfyUI", python=False))
    assert "--python" in caught.value.hint


def test_one_that_is_there_and_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    root = installation(tmp_path / "portable" / "ComfyUI", python=False)
    program(tmp_path / "portable" / "python_embeded" / "python.exe")
    with pytest.raises(MissingFileError, match=r"a Python for Windows: .*python_embeded") as caught:
        find_python(root)
    assert "on Windows" in caught.value.hint
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to("/gone/python3.11")
    with pytest.raises(MissingFileError, match=r"leads to /gone/python3\.11, which is not there"):
        find_python(root)


@pytest.mark.parametrize(("gpu", "device"), [(True, ("cuda", "Test GPU")), (False, ("cpu", "CPU"))])
async def test_the_device_is_what_its_pytorch_sees(tmp_path: Path, gpu: bool, device: tuple[str, str]) -> None:
    root = installation(tmp_path, gpu=gpu)
    found = await ask(find_python(root), root, ENVIRONMENT)
    assert (found.device, found.device_name) == device and found.has_gpu is gpu
    assert (found.vram_total, found.vram_free) == ((8_000_000, 6_000_000) if gpu else (0, 0))
    assert found.torch == "0.test" and found.version == sys.version.split()[0]


async def test_a_device_that_does_not_tell_its_memory_is_a_device(tmp_path: Path) -> None:
    root = installation(tmp_path, gpu=True)
    torch = root / "torch.py"
    torch.write_text(torch.read_text().replace("mem_get_info", "something_else"))
    found = await ask(find_python(root), root, ENVIRONMENT)
    assert found.has_gpu and found.device_name == "Test GPU" and found.vram_total == 0


async def test_a_python_without_pytorch_cannot_run_it(tmp_path: Path) -> None:
    root = installation(tmp_path)
    (root / "torch.py").write_text("raise ImportError('libcudart is away')")
    with pytest.raises(LaunchError, match="cannot run ComfyUI: libcudart is away") as caught:
        await ask(find_python(root), root, ENVIRONMENT)
    assert "requirements" in caught.value.hint


async def test_what_is_no_python_is_said(tmp_path: Path) -> None:
    root = installation(tmp_path)
    with pytest.raises(LaunchError, match="does not work as a Python"):
        await ask(Path("/bin/echo"), root, ENVIRONMENT)
    with pytest.raises(LaunchError, match="cannot be run"):
        await ask(root / "main.py", root, ENVIRONMENT)
